/* Runs the self-test of the network, and classifies the images of images.h. */
#include "images.h"
#include "model.h"
#include "semihosting.h"

static int best(const float *scores)
{
    int k, found = 0;

    for (k = 1; k < BINARYNET_FASHION_MNIST_SMALL_OUTPUT_SIZE; k++)
        if (scores[k] > scores[found])
            found = k;
    return found;
}

int main(void)
{
    static float scores[BINARYNET_FASHION_MNIST_SMALL_OUTPUT_SIZE];
    int i, other = 0;

    if (binarynet_fashion_mnist_small_self_test() != 0) {
        print("self-test failed\n");
        return 1;
    }
    print("self-test passed\n");
    for (i = 0; i < IMAGES; i++) {
        binarynet_fashion_mnist_small_run_pixels(images[i], scores);
        print(binarynet_fashion_mnist_small_labels[best(scores)]);
        if (best(scores) != host_classes[i]) {
            print(", not as on the host");
            other++;
        }
        print("\n");
    }
    print(other ? "some images differ\n" : "all images as on the host\n");
    return other != 0;
}

"""Fine-tuning a pretrained network on real digits beats training a head on random features."""

from __future__ import annotations

import keras

import bnnzoo

NAME = "binarynet.fashion_mnist_small"


def test_pretrained_features_and_all_of_it_beat_random_features(example, digits, tmp_path):
    finetune = example("finetune").finetune
    train, test = digits
    accuracy = {}
    for pretrained, epochs in ((False, 0), (True, 0), (True, 4)):
        keras.utils.set_random_seed(0)
        model = finetune(NAME, train, head_epochs=4, epochs=epochs, pretrained=pretrained)
        accuracy[pretrained, epochs] = bnnzoo.evaluate(model, test).top1
    # Measured once: 54.8, 83.6 and 91.5 %. A margin of 5 points is three standard errors of 797
    # images at 70 %.
    assert accuracy[True, 0] > accuracy[False, 0] + 5
    assert accuracy[True, 4] > accuracy[True, 0]

    model.save(tmp_path / "digits.keras")
    report = bnnzoo.evaluate(tmp_path / "digits.keras", test)
    assert report.top1 == accuracy[True, 4]
    assert report.preprocessing == "scale_pm1"

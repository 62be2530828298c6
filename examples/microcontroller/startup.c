/* What happens before main on an ARMv7-M core: vectors, memory, the floating-point unit. */
#include <stdint.h>
#include <string.h>

#include "semihosting.h"

/* Places that mps2_an500.ld names. */
extern char data_begin[], data_end[], data_source[], bss_begin[], bss_end[];
void stack_top(void); /* no function: the vectors are addresses of functions but for the first */

int main(void);
void reset(void);
void fault(void);

typedef void (*handler)(void);

__attribute__((section(".vectors"), used)) static const handler vectors[16] = {
    stack_top, reset, fault, fault, fault, fault, fault,
};

void reset(void)
{
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* CPACR: full access to the FPU */
    __asm__ volatile("dsb\n isb");
    memcpy(data_begin, data_source, (size_t)(data_end - data_begin));
    memset(bss_begin, 0, (size_t)(bss_end - bss_begin));
    leave(main());
}

void fault(void)
{
    print("fault\n");
    leave(2);
}

/* SPDX-License-Identifier: MIT */
/*
 * The machine's local APIC: timer, end of interrupt. x2APIC where the CPU has
 * it, memory-mapped otherwise.
 */
#ifndef ARCH_X86_64_APIC_H
#define ARCH_X86_64_APIC_H

#include <quire/addr.h>

/*
 * Enables this CPU's local APIC, with the timer masked. `registers` is the mapping
 * of the APIC's page, or NULL to use x2APIC mode.
 */
void apic_init(volatile void *registers);
uint32_t apic_id(void);
void apic_eoi(void);

/* Raises TRAP_VECTOR_TIMER once, after `ticks` (at least 1) of the APIC timer's clock. */
void apic_timer_arm(uint32_t ticks);
/* Raises it once the TSC reaches `deadline_tsc`. Needs cpu_features()->has_tsc_deadline. */
void apic_timer_arm_deadline(uint64_t deadline_tsc);
void apic_timer_stop(void);
uint32_t apic_timer_remaining(void);

#endif

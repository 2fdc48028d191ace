/* SPDX-License-Identifier: MIT */
/*
 * Exit handlers: one per kind, found by table. A handler carries out what the
 * guest asked for and moves RIP on, or queues an exception, or leaves RIP where
 * it is so that the guest tries again.
 */
#ifndef VM_MACHINE_EXIT_H
#define VM_MACHINE_EXIT_H

struct vcpu;

/* Calls the handler of vcpu->exit.kind. */
void exit_dispatch(struct vcpu *vcpu);

void exit_cpuid(struct vcpu *vcpu);     /* exit_cpuid.c */
void exit_xsetbv(struct vcpu *vcpu);    /* exit_cpuid.c: what it enables, CPUID reports */
void exit_pio(struct vcpu *vcpu);       /* exit_io.c */
void exit_rdmsr(struct vcpu *vcpu);     /* exit_msr.c */
void exit_wrmsr(struct vcpu *vcpu);     /* exit_msr.c */
void exit_memory(struct vcpu *vcpu);    /* exit_memory.c */
void exit_hypercall(struct vcpu *vcpu); /* exit_hypercall.c */

#endif

/* SPDX-License-Identifier: MIT */
/* Creates, resets and destroys a vCPU, and says what exits. */
#include <quire/assert.h>
#include <quire/x86_state.h>

#include "lib/string.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/percpu.h"
#include "kernel/heap.h"
#include "kernel/time.h"

#include "vmx_internal.h"

/*
 * A guest can make the delivery of #DB or #AC raise the same exception again, for ever,
 * and the CPU takes no interrupt in between. Therefore both exit (CVE-2015-8104,
 * CVE-2015-5307). #MC belongs to the machine.
 */
#define EXCEPTIONS (BIT32(VECTOR_DB) | BIT32(VECTOR_AC) | BIT32(VECTOR_MC))

/*
 * The longest run of the guest without an exit. A CPU does not need this limit: an interrupt
 * ends the guest's run whatever RFLAGS.IF is. Bochs 2.7 does not do that if the guest was
 * entered with IF clear; the guest would run until it sets IF.
 */
#define STAY_US 10000u

/* Returns the machine address of a static object in Quire's image. */
static uint64_t image_hpa(const void *object)
{
	return (uintptr_t)object - PAGING_IMAGE_BASE;
}

static uint32_t preemption_timer_ticks(void)
{
	uint64_t ticks = time_ticks_from_us(STAY_US) >> vmx_features.preemption_timer_shift;
	if (ticks == 0)
		return 1;
	return ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks;
}

static void controls_init(struct virt_vcpu *vcpu)
{
	vcpu->primary_controls = vmx_features.primary;
	vmcs_write(vcpu, VMCS_PIN_CONTROLS, vmx_features.pin);
	vmcs_write(vcpu, VMCS_PRIMARY_CONTROLS, vmx_features.primary);
	vmcs_write(vcpu, VMCS_SECONDARY_CONTROLS, vmx_features.secondary);
	vmcs_write(vcpu, VMCS_EXIT_CONTROLS, vmx_features.exit);
	vmcs_write(vcpu, VMCS_ENTRY_CONTROLS, vmx_features.entry);
	vmcs_write(vcpu, VMCS_EXCEPTION_BITMAP, EXCEPTIONS);
	vmcs_write(vcpu, VMCS_PF_ERROR_MASK, 0);
	vmcs_write(vcpu, VMCS_PF_ERROR_MATCH, 0);
	vmcs_write(vcpu, VMCS_CR3_TARGET_COUNT, 0);
	vmcs_write(vcpu, VMCS_EXIT_MSR_STORE_COUNT, 0);
	vmcs_write(vcpu, VMCS_EXIT_MSR_LOAD_COUNT, 0);
	vmcs_write(vcpu, VMCS_ENTRY_MSR_LOAD_COUNT, 0);
	vmcs_write(vcpu, VMCS_MSR_BITMAP, image_hpa(vmx_msr_bitmap));
	vmcs_write(vcpu, VMCS_VIRTUAL_APIC, heap_hpa(vcpu->virtual_apic).raw);
	vmcs_write(vcpu, VMCS_TPR_THRESHOLD, 0);
	vmcs_write(vcpu, VMCS_TSC_OFFSET, 0);
	vmcs_write(vcpu, VMCS_CR0_MASK, vmx_features.cr0_owned);
	vmcs_write(vcpu, VMCS_CR4_MASK, vmx_features.cr4_owned);
	/* No exit saves the timer, so the field keeps its value: each run gets the full time. */
	if (vmx_features.has_preemption_timer)
		vmcs_write(vcpu, VMCS_GUEST_PREEMPTION_TIMER, preemption_timer_ticks());
}

/* Sets guest state for which neither struct guest_state nor struct guest_regs has a field. */
static void hidden_state_init(struct virt_vcpu *vcpu)
{
	vmcs_write(vcpu, VMCS_GUEST_LINK_POINTER, LINK_POINTER_NONE);
	vmcs_write(vcpu, VMCS_GUEST_DEBUGCTL, 0);
	vmcs_write(vcpu, VMCS_GUEST_ACTIVITY, ACTIVITY_ACTIVE);
	vmcs_write(vcpu, VMCS_GUEST_PENDING_DEBUG, 0);
	vmcs_write(vcpu, VMCS_ENTRY_EVENT, 0);
}

static void regs_init(struct virt_vcpu *vcpu)
{
	vmcs_write(vcpu, VMCS_GUEST_RIP, vcpu->rip);
	vmcs_write(vcpu, VMCS_GUEST_RSP, vcpu->rsp);
	vmcs_write(vcpu, VMCS_GUEST_RFLAGS, vcpu->rflags);
	vmcs_write(vcpu, VMCS_GUEST_INTERRUPTIBILITY, vcpu->interruptibility);
}

static void release(struct virt_vcpu *vcpu)
{
	heap_free(vcpu->virtual_apic, PAGE_SIZE);
	heap_free(vcpu->vmcs, PAGE_SIZE);
	heap_free(vcpu, sizeof(*vcpu));
}

q_status_t vmx_vcpu_create(struct guest_regs *regs, struct virt_vcpu **out_vcpu)
{
	struct virt_vcpu *vcpu = heap_alloc(sizeof(*vcpu));
	if (!vcpu)
		return Q_NO_MEMORY;
	vcpu->vmcs = heap_alloc(PAGE_SIZE);
	vcpu->virtual_apic = heap_alloc(PAGE_SIZE);
	if (!vcpu->vmcs || !vcpu->virtual_apic) {
		release(vcpu);
		return Q_NO_MEMORY;
	}

	vcpu->regs = regs;
	vcpu->vmcs_addr = heap_hpa(vcpu->vmcs);
	vcpu->vpid_stamp = VMX_VPID_STAMP_NONE;
	memcpy(vcpu->vmcs, &vmx_features.revision, sizeof(vmx_features.revision));
	bool is_cleared = vmx_insn_vmclear(vcpu->vmcs_addr);
	Q_ASSERT(is_cleared);
	vmx_vmcs_load(vcpu);
	controls_init(vcpu);
	regs_init(vcpu);
	vmx_vcpu_reset(vcpu);
	*out_vcpu = vcpu;
	return Q_OK;
}

void vmx_vcpu_destroy(struct virt_vcpu *vcpu)
{
	struct vmx_cpu *cpu = &vmx_cpus[percpu()->index];
	Q_ASSERT(vcpu->home == cpu);

	/* The CPU may keep parts of an active VMCS and write them to its page at any time. */
	bool is_cleared = vmx_insn_vmclear(vcpu->vmcs_addr);
	Q_ASSERT(is_cleared);
	if (cpu->current == vcpu)
		cpu->current = NULL;
	vmx_live_drop(vcpu);
	vmx_figures_log(vcpu, LOG_INFO);
	release(vcpu);
}

void vmx_vcpu_reset(struct virt_vcpu *vcpu)
{
	struct cpuid_regs signature;
	cpu_cpuid(1, 0, &signature);

	memset(vcpu->regs, 0, sizeof(*vcpu->regs));
	vcpu->regs->gpr[GPR_RDX] = signature.eax;
	vcpu->regs->rip = RESET_RIP;
	vcpu->regs->rflags = RFLAGS_FIXED;

	vmx_vmcs_load(vcpu);
	hidden_state_init(vcpu);
	vmx_interrupt_window_set(vcpu, false);
	q_status_t status = vmx_state_set(vcpu, &x86_reset_state);
	Q_ASSERT(status == Q_OK);
}

/* SPDX-License-Identifier: MIT */
/*
 * Makes a vCPU's VMCS current, and copies groups of its fields to plain structs and back, so
 * that all code that reasons about them is pure. vmx_internal.h lists the fields of each
 * group. Copying is for rare uses: a whole group takes dozens of VMREADs.
 */
#include <quire/assert.h>

#include "arch/x86_64/cpu.h"
#include "arch/x86_64/gdt.h"
#include "arch/x86_64/msr.h"
#include "arch/x86_64/percpu.h"

#include "vmx_internal.h"

void vmx_vmcs_load(struct virt_vcpu *vcpu)
{
	struct vmx_cpu *cpu = &vmx_cpus[percpu()->index];
	if (Q_LIKELY(cpu->current == vcpu))
		return;

	/* A VMCS that is active on another CPU would have to be cleared there first. */
	Q_ASSERT(!vcpu->home || vcpu->home == cpu);
	bool is_loaded = vmx_insn_vmptrld(vcpu->vmcs_addr);
	Q_ASSERT(is_loaded);
	cpu->current = vcpu;
	if (vcpu->home)
		return;
	vcpu->home = cpu;
	vcpu->flush |= VMX_FLUSH_SLAT;
	vmx_host_write(vcpu);
}

static enum vmcs_field segment_field(enum vmcs_field first, unsigned segment)
{
	return first + 2 * segment;
}

static void segment_read(struct virt_vcpu *vcpu, unsigned i, struct guest_segment *out_segment)
{
	out_segment->selector = (uint16_t)vmcs_read(vcpu, segment_field(VMCS_GUEST_SELECTOR, i));
	out_segment->limit = (uint32_t)vmcs_read(vcpu, segment_field(VMCS_GUEST_LIMIT, i));
	out_segment->attributes =
		(uint32_t)vmcs_read(vcpu, segment_field(VMCS_GUEST_ATTRIBUTES, i));
	out_segment->base = vmcs_read(vcpu, segment_field(VMCS_GUEST_BASE, i));
}

void vmx_guest_read(struct virt_vcpu *vcpu, struct vmx_guest *out_guest)
{
	vmx_vmcs_load(vcpu);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment_read(vcpu, i, &out_guest->segment[i]);
	out_guest->gdtr.base = vmcs_read(vcpu, VMCS_GUEST_GDTR_BASE);
	out_guest->gdtr.limit = (uint32_t)vmcs_read(vcpu, VMCS_GUEST_GDTR_LIMIT);
	out_guest->idtr.base = vmcs_read(vcpu, VMCS_GUEST_IDTR_BASE);
	out_guest->idtr.limit = (uint32_t)vmcs_read(vcpu, VMCS_GUEST_IDTR_LIMIT);
#define READ(name, field) out_guest->name = vmcs_read(vcpu, field);
	VMX_GUEST_FIELDS(READ)
	VMX_GUEST_READ_FIELDS(READ)
#undef READ
}

static void write_if(struct virt_vcpu *vcpu, enum vmcs_field field, uint64_t value, uint64_t old)
{
	if (value != old)
		vmcs_write(vcpu, field, value);
}

static void segment_write(struct virt_vcpu *vcpu, unsigned i, const struct guest_segment *segment,
			  const struct guest_segment *old)
{
	write_if(vcpu, segment_field(VMCS_GUEST_SELECTOR, i), segment->selector, old->selector);
	write_if(vcpu, segment_field(VMCS_GUEST_LIMIT, i), segment->limit, old->limit);
	write_if(vcpu, segment_field(VMCS_GUEST_ATTRIBUTES, i), segment->attributes,
		 old->attributes);
	write_if(vcpu, segment_field(VMCS_GUEST_BASE, i), segment->base, old->base);
}

void vmx_guest_write(struct virt_vcpu *vcpu, const struct vmx_guest *guest,
		     const struct vmx_guest *old)
{
	vmx_vmcs_load(vcpu);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment_write(vcpu, i, &guest->segment[i], &old->segment[i]);
	write_if(vcpu, VMCS_GUEST_GDTR_BASE, guest->gdtr.base, old->gdtr.base);
	write_if(vcpu, VMCS_GUEST_GDTR_LIMIT, guest->gdtr.limit, old->gdtr.limit);
	write_if(vcpu, VMCS_GUEST_IDTR_BASE, guest->idtr.base, old->idtr.base);
	write_if(vcpu, VMCS_GUEST_IDTR_LIMIT, guest->idtr.limit, old->idtr.limit);
#define WRITE(name, field) write_if(vcpu, field, guest->name, old->name);
	VMX_GUEST_FIELDS(WRITE)
#undef WRITE
	vcpu->interruptibility = (uint32_t)guest->interruptibility;
}

void vmx_controls_read(struct virt_vcpu *vcpu, struct vmx_controls *out_controls)
{
	vmx_vmcs_load(vcpu);
	/* The field exists only on CPUs with VPIDs. */
	out_controls->vpid = vmx_features.has_vpid ? vmcs_read(vcpu, VMCS_VPID) : 0;
#define READ(name, field) out_controls->name = vmcs_read(vcpu, field);
	VMX_CONTROL_FIELDS(READ)
#undef READ
}

void vmx_host_read(struct virt_vcpu *vcpu, struct vmx_host *out_host)
{
	vmx_vmcs_load(vcpu);
#define READ(name, field) out_host->name = vmcs_read(vcpu, field);
	VMX_HOST_FIELDS(READ)
#undef READ
}

/* SDM vol. 3, "TSS Descriptor in 64-bit Mode": the base is scattered over 16 bytes. */
static uint64_t tss_base(uint64_t gdt_base, uint16_t selector)
{
	const uint64_t *descriptor = (const uint64_t *)(uintptr_t)(gdt_base + selector);
	return field_get(descriptor[0], MASK64(39, 16)) |
	       field_get(descriptor[0], MASK64(63, 56)) << 24 |
	       field_get(descriptor[1], MASK64(31, 0)) << 32;
}

void vmx_host_write(struct virt_vcpu *vcpu)
{
	/* Quire never uses SYSENTER, so its registers may be 0. */
	struct vmx_host host = {
		.cr0 = cpu_read_cr0(),
		.cr3 = cpu_read_cr3(),
		.cr4 = cpu_read_cr4(),
		.efer = msr_read(MSR_EFER),
		.pat = msr_read(MSR_PAT),
		.es = SELECTOR_DATA,
		.cs = SELECTOR_CODE,
		.ss = SELECTOR_DATA,
		.ds = SELECTOR_DATA,
		.tr = cpu_task_selector(),
		.fs_base = msr_read(MSR_FS_BASE),
		.gs_base = msr_read(MSR_GS_BASE),
		.gdtr_base = cpu_gdt_base(),
		.idtr_base = cpu_idt_base(),
		.rip = (uintptr_t)vmx_exit_arrival,
	};
	host.tr_base = tss_base(host.gdtr_base, (uint16_t)host.tr);
#define WRITE(name, field) vmcs_write(vcpu, field, host.name);
	VMX_HOST_FIELDS(WRITE)
#undef WRITE
}

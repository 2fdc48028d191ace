/* SPDX-License-Identifier: MIT */
/* Prints a VMCS, and how many VMREADs and VMWRITEs its exits took. */
#include "vmx_internal.h"

typedef unsigned long long ull;

static void segment_print(const char *name, const struct guest_segment *segment)
{
	log_notice("vmx: %-4s sel=%04x attr=%05x limit=%08x base=%016llx", name, segment->selector,
		   segment->attributes, segment->limit, (ull)segment->base);
}

static void controls_print(struct virt_vcpu *vcpu)
{
	struct vmx_controls controls;
	vmx_controls_read(vcpu, &controls);
	log_notice("vmx: exit reason=%llx qualification=%llx gpa=%llx vectoring=%llx length=%llu",
		   (ull)vmcs_read(vcpu, VMCS_EXIT_REASON), (ull)vmcs_read(vcpu, VMCS_QUALIFICATION),
		   (ull)vmcs_read(vcpu, VMCS_GUEST_PHYSICAL_ADDRESS),
		   (ull)vmcs_read(vcpu, VMCS_VECTORING_EVENT),
		   (ull)vmcs_read(vcpu, VMCS_EXIT_INSN_LENGTH));
	log_notice("vmx: controls pin=%08llx %08llx %08llx exit=%08llx entry=%08llx",
		   (ull)controls.pin, (ull)controls.primary, (ull)controls.secondary,
		   (ull)controls.exit, (ull)controls.entry);
	log_notice("vmx: vpid=%llu flush=%u inject=%llx error=%llx", (ull)controls.vpid,
		   vcpu->flush, (ull)controls.event, (ull)controls.event_error_code);
	log_notice("vmx: eptp=%llx tsc_offset=%llx msr_bitmap=%llx virtual_apic=%llx",
		   (ull)controls.eptp, (ull)controls.tsc_offset, (ull)controls.msr_bitmap,
		   (ull)controls.virtual_apic);
}

static void guest_print(const struct vmx_guest *guest)
{
	log_notice("vmx: cr0=%llx (%llx) cr3=%llx cr4=%llx (%llx) efer=%llx", (ull)guest->cr0,
		   (ull)guest->cr0_shadow, (ull)guest->cr3, (ull)guest->cr4, (ull)guest->cr4_shadow,
		   (ull)guest->efer);
	log_notice("vmx: dr7=%llx pat=%llx blocking=%llx activity=%llx pending_debug=%llx",
		   (ull)guest->dr7, (ull)guest->pat, (ull)guest->interruptibility,
		   (ull)guest->activity, (ull)guest->pending_debug);
	log_notice("vmx: sysenter cs=%llx esp=%llx eip=%llx", (ull)guest->sysenter_cs,
		   (ull)guest->sysenter_esp, (ull)guest->sysenter_eip);
}

static void live_print(struct virt_vcpu *vcpu)
{
	struct vmx_live live;
	vmx_live_get(vcpu, &live);
	log_notice("vmx: cr2=%llx dr6=%llx", (ull)live.cr2, (ull)live.dr6);
	log_notice("vmx: star=%llx lstar=%llx cstar=%llx sfmask=%llx kernel_gs_base=%llx",
		   (ull)live.star, (ull)live.lstar, (ull)live.cstar, (ull)live.sfmask,
		   (ull)live.kernel_gs_base);
}

void vmx_figures_log(const struct virt_vcpu *vcpu, enum log_level level)
{
	for (unsigned kind = 0; kind < VMEXIT_KIND_COUNT; kind++) {
		const struct vmx_figures *figures = &vcpu->figures[kind];
		if (figures->exits)
			log_write(level, "vmx: exits %-16s count=%llu vmreads=%llu vmwrites=%llu",
				  vmexit_kind_name((enum vmexit_kind)kind), (ull)figures->exits,
				  (ull)figures->reads, (ull)figures->writes);
	}
}

void vmx_dump(struct virt_vcpu *vcpu)
{
	struct vmx_guest guest;

	controls_print(vcpu);
	log_notice("vmx: rip=%llx rsp=%llx rax=%llx rflags=%llx", (ull)vcpu->regs->rip,
		   (ull)vcpu->regs->gpr[GPR_RSP], (ull)vcpu->regs->gpr[GPR_RAX],
		   (ull)vcpu->regs->rflags);
	vmx_guest_read(vcpu, &guest);
	guest_print(&guest);
	live_print(vcpu);
	segment_print("es", &guest.segment[SEG_ES]);
	segment_print("cs", &guest.segment[SEG_CS]);
	segment_print("ss", &guest.segment[SEG_SS]);
	segment_print("ds", &guest.segment[SEG_DS]);
	segment_print("fs", &guest.segment[SEG_FS]);
	segment_print("gs", &guest.segment[SEG_GS]);
	segment_print("ldtr", &guest.segment[SEG_LDTR]);
	segment_print("tr", &guest.segment[SEG_TR]);
	log_notice("vmx: gdtr limit=%04x base=%016llx", guest.gdtr.limit, (ull)guest.gdtr.base);
	log_notice("vmx: idtr limit=%04x base=%016llx", guest.idtr.limit, (ull)guest.idtr.base);
	vmx_figures_log(vcpu, LOG_NOTICE);
}

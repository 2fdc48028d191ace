/* SPDX-License-Identifier: MIT */
/* Prints a VMCB. svm_run.c says which fields are still true after a refused entry. */
#include <quire/log.h>

#include "svm_internal.h"

typedef unsigned long long ull;

static void segment_print(const char *name, const struct vmcb_segment *segment)
{
	log_notice("svm: %-4s sel=%04x attr=%03x limit=%08x base=%016llx", name, segment->selector,
		   segment->attributes, segment->limit, (ull)segment->base);
}

static void control_print(const struct vmcb_control *control)
{
	log_notice("svm: exit code=%llx info1=%llx info2=%llx intinfo=%llx next_rip=%llx",
		   (ull)control->exit_code, (ull)control->exit_info_1, (ull)control->exit_info_2,
		   (ull)control->exit_int_info, (ull)control->next_rip);
	log_notice("svm: intercepts exceptions=%08x %08x %08x", control->_intercept_exceptions,
		   control->_intercept_1, control->_intercept_2);
	log_notice("svm: asid=%u tlb=%u clean=%x inject=%llx shadow=%llx", control->_asid,
		   control->tlb_control, control->clean, (ull)control->event_inject,
		   (ull)control->interrupt_shadow);
	log_notice("svm: v_tpr=%x v_irq=%x v_priority=%x ncr3=%llx tsc_offset=%llx iopm=%llx "
		   "msrpm=%llx",
		   control->v_tpr, control->v_irq, control->v_priority, (ull)control->_nested_cr3,
		   (ull)control->_tsc_offset, (ull)control->_iopm_base, (ull)control->_msrpm_base);
}

static void save_print(const struct vmcb_save *save)
{
	log_notice("svm: cr0=%llx cr2=%llx cr3=%llx cr4=%llx efer=%llx cpl=%u", (ull)save->cr0,
		   (ull)save->cr2, (ull)save->cr3, (ull)save->cr4, (ull)save->efer, save->cpl);
	log_notice("svm: dr6=%llx dr7=%llx pat=%llx", (ull)save->dr6, (ull)save->dr7,
		   (ull)save->pat);
	log_notice("svm: star=%llx lstar=%llx cstar=%llx sfmask=%llx kernel_gs_base=%llx",
		   (ull)save->star, (ull)save->lstar, (ull)save->cstar, (ull)save->sfmask,
		   (ull)save->kernel_gs_base);
	log_notice("svm: sysenter cs=%llx esp=%llx eip=%llx", (ull)save->sysenter_cs,
		   (ull)save->sysenter_esp, (ull)save->sysenter_eip);
}

void svm_dump(struct virt_vcpu *vcpu)
{
	const struct vmcb_save *save = &vcpu->vmcb->save;

	control_print(&vcpu->vmcb->control);
	log_notice("svm: rip=%llx rsp=%llx rax=%llx rflags=%llx", (ull)vcpu->regs->rip,
		   (ull)vcpu->regs->gpr[GPR_RSP], (ull)vcpu->regs->gpr[GPR_RAX],
		   (ull)vcpu->regs->rflags);
	save_print(save);
	segment_print("es", &save->es);
	segment_print("cs", &save->cs);
	segment_print("ss", &save->ss);
	segment_print("ds", &save->ds);
	segment_print("fs", &save->fs);
	segment_print("gs", &save->gs);
	segment_print("gdtr", &save->gdtr);
	segment_print("ldtr", &save->ldtr);
	segment_print("idtr", &save->idtr);
	segment_print("tr", &save->tr);
}

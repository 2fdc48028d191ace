/* SPDX-License-Identifier: MIT */
/*
 * AMD-V behind <quire/virt_ops.h>. This folder translates between that interface
 * and the VMCB and decides nothing; svm_internal.h lists its files.
 */
#include "svm.h"

#include "svm_internal.h"

static void slat_root_set(struct virt_vcpu *vcpu, hpa_t root)
{
	vmcb_set_nested_cr3(vcpu->vmcb, root.raw);
	/* Cached translations are tagged with the ASID, not with the root that they came from. */
	svm_tlb_flush(vcpu);
}

static void tsc_offset_set(struct virt_vcpu *vcpu, uint64_t offset)
{
	vmcb_set_tsc_offset(vcpu->vmcb, offset);
}

/* Every CPU with SVM sets dirty bits in nested tables: APM vol. 2, "Nested Paging". */
static bool slat_notes_dirty(void)
{
	return true;
}

static const struct virt_ops svm_ops = {
	.name = "AMD-V",
	.slat_kind = SLAT_NPT,
	.cpu_enable = svm_cpu_enable,
	.cpu_disable = svm_cpu_disable,
	.vcpu_create = svm_vcpu_create,
	.vcpu_destroy = svm_vcpu_destroy,
	.vcpu_reset = svm_vcpu_reset,
	.run = svm_run,
	.state_get = svm_state_get,
	.code_state_get = svm_code_state_get,
	.state_set = svm_state_set,
	.event_inject = svm_event_inject,
	.interrupt_window_set = svm_interrupt_window_set,
	.insn_skipped = svm_insn_skipped,
	.slat_root_set = slat_root_set,
	.slat_flush = svm_tlb_flush,
	.slat_notes_dirty = slat_notes_dirty,
	.tsc_offset_set = tsc_offset_set,
	.check = svm_check,
	.dump = svm_dump,
};

const struct virt_ops *svm_probe(q_status_t *out_status, const char **out_reason)
{
	const char *reason = svm_cpu_detect();
	if (reason) {
		*out_status = Q_UNSUPPORTED;
		*out_reason = reason;
		return NULL;
	}
	svm_permissions_init();
	*out_status = Q_OK;
	return &svm_ops;
}

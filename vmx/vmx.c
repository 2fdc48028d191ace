/* SPDX-License-Identifier: MIT */
/*
 * VT-x behind <quire/virt_ops.h>. This folder translates between that interface
 * and the VMCS and decides nothing; vmx_internal.h lists its files.
 */
#include "vmx.h"

#include "vmx_internal.h"

static void slat_root_set(struct virt_vcpu *vcpu, hpa_t root)
{
	uint64_t eptp = root.raw | EPTP_WRITE_BACK | EPTP_FOUR_LEVELS;
	if (vmx_features.has_ept_accessed_dirty)
		eptp |= EPTP_ACCESSED_DIRTY;
	vmx_vmcs_load(vcpu);
	vmcs_write(vcpu, VMCS_EPTP, eptp);
	vcpu->eptp = eptp;
	/* Cached translations are tagged with the root, and this page may have been a root before. */
	vmx_tlb_flush(vcpu);
}

static void tsc_offset_set(struct virt_vcpu *vcpu, uint64_t offset)
{
	vmx_vmcs_load(vcpu);
	vmcs_write(vcpu, VMCS_TSC_OFFSET, offset);
}

/* The first CPUs with EPT set no dirty bits: SDM vol. 3, "Accessed and Dirty Flags for EPT". */
static bool slat_notes_dirty(void)
{
	return vmx_features.has_ept_accessed_dirty;
}

static const struct virt_ops vmx_ops = {
	.name = "VT-x",
	.slat_kind = SLAT_EPT,
	.cpu_enable = vmx_cpu_enable,
	.cpu_disable = vmx_cpu_disable,
	.vcpu_create = vmx_vcpu_create,
	.vcpu_destroy = vmx_vcpu_destroy,
	.vcpu_reset = vmx_vcpu_reset,
	.run = vmx_run,
	.state_get = vmx_state_get,
	.code_state_get = vmx_code_state_get,
	.state_set = vmx_state_set,
	.event_inject = vmx_event_inject,
	.interrupt_window_set = vmx_interrupt_window_set,
	.insn_skipped = vmx_insn_skipped,
	.slat_root_set = slat_root_set,
	.slat_flush = vmx_tlb_flush,
	.slat_notes_dirty = slat_notes_dirty,
	.tsc_offset_set = tsc_offset_set,
	.check = vmx_check,
	.dump = vmx_dump,
};

const struct virt_ops *vmx_probe(q_status_t *out_status, const char **out_reason)
{
	const char *reason = vmx_cpu_detect();
	if (reason) {
		*out_status = Q_UNSUPPORTED;
		*out_reason = reason;
		return NULL;
	}
	vmx_permissions_init();
	*out_status = Q_OK;
	return &vmx_ops;
}

/* SPDX-License-Identifier: MIT */
/*
 * Copies struct guest_state to the save area of a VMCB and back.
 *
 * Two bits differ from what the guest sees: EFER.SVME, which VMRUN demands and the guest
 * does not have, and EFER.LMA, which is computed here from LME and CR0.PG, because not
 * every emulator does it at VMRUN.
 */
#include "svm_internal.h"

/* Bits 11:8 of an SVM attribute word are bits 15:12 of the neutral one. */
#define ATTRIBUTES_LOW  0x00ffu
#define ATTRIBUTES_HIGH 0x0f00u

static const uint16_t segment_offset[SEG_COUNT] = {
	[SEG_ES] = offsetof(struct vmcb_save, es),     [SEG_CS] = offsetof(struct vmcb_save, cs),
	[SEG_SS] = offsetof(struct vmcb_save, ss),     [SEG_DS] = offsetof(struct vmcb_save, ds),
	[SEG_FS] = offsetof(struct vmcb_save, fs),     [SEG_GS] = offsetof(struct vmcb_save, gs),
	[SEG_LDTR] = offsetof(struct vmcb_save, ldtr), [SEG_TR] = offsetof(struct vmcb_save, tr),
};

/* Fields of the same name on both sides. EFER is not one of them, see above. */
#define SAME_FIELDS(X)    \
	X(cr0)            \
	X(cr2)            \
	X(cr3)            \
	X(cr4)            \
	X(pat)            \
	X(dr6)            \
	X(dr7)            \
	X(star)           \
	X(lstar)          \
	X(cstar)          \
	X(sfmask)         \
	X(kernel_gs_base) \
	X(sysenter_cs)    \
	X(sysenter_esp)   \
	X(sysenter_eip)   \
	X(cpl)

uint16_t svm_attributes_encode(uint32_t attributes)
{
	uint32_t word = (attributes & ATTRIBUTES_LOW) | (attributes >> 4 & ATTRIBUTES_HIGH);
	if (attributes & SEG_ATTR_UNUSABLE)
		word &= ~SEG_ATTR_P;
	return (uint16_t)word;
}

uint32_t svm_attributes_decode(uint16_t attributes)
{
	uint32_t word = (attributes & ATTRIBUTES_LOW) | (attributes & ATTRIBUTES_HIGH) << 4;
	/* A loaded segment is present; one that is not present comes from a null selector. */
	return word & SEG_ATTR_P ? word : word | SEG_ATTR_UNUSABLE;
}

static void segments_encode(const struct guest_state *state, struct vmcb_save *save)
{
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		const struct guest_segment *from = &state->segment[i];
		struct vmcb_segment *to = (void *)((uint8_t *)save + segment_offset[i]);
		to->selector = from->selector;
		to->attributes = svm_attributes_encode(from->attributes);
		to->limit = from->limit;
		to->base = from->base;
	}
	save->gdtr.base = state->gdtr.base;
	save->gdtr.limit = state->gdtr.limit;
	save->idtr.base = state->idtr.base;
	save->idtr.limit = state->idtr.limit;
}

static void segments_decode(const struct vmcb_save *save, struct guest_state *state)
{
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		const struct vmcb_segment *from =
			(const void *)((const uint8_t *)save + segment_offset[i]);
		struct guest_segment *to = &state->segment[i];
		to->selector = from->selector;
		to->attributes = svm_attributes_decode(from->attributes);
		to->limit = from->limit;
		to->base = from->base;
	}
	state->gdtr.base = save->gdtr.base;
	state->gdtr.limit = save->gdtr.limit;
	state->idtr.base = save->idtr.base;
	state->idtr.limit = save->idtr.limit;
}

static uint64_t efer_encode(const struct guest_state *state)
{
	uint64_t efer = (state->efer & ~EFER_LMA) | EFER_SVME;
	bool is_long_mode = (state->efer & EFER_LME) && (state->cr0 & CR0_PG);
	return is_long_mode ? efer | EFER_LMA : efer;
}

/* True if the guest's TLB must be flushed, as MOV to a control register flushes it. */
static bool translation_differs(const struct vmcb_save *a, const struct vmcb_save *b)
{
	return a->cr0 != b->cr0 || a->cr3 != b->cr3 || a->cr4 != b->cr4 || a->efer != b->efer;
}

void svm_state_get(struct virt_vcpu *vcpu, struct guest_state *out_state)
{
	const struct vmcb_save *save = &vcpu->vmcb->save;

	segments_decode(save, out_state);
#define GET(field) out_state->field = save->field;
	SAME_FIELDS(GET)
#undef GET
	out_state->efer = save->efer & ~EFER_SVME;
	out_state->interrupt_shadow = vcpu->vmcb->control.interrupt_shadow & VMCB_INTERRUPT_SHADOW;
	out_state->nmi_blocked = svm_nmi_is_blocked(vcpu->vmcb);
}

void svm_code_state_get(struct virt_vcpu *vcpu, struct guest_code_state *out_state)
{
	const struct vmcb_save *save = &vcpu->vmcb->save;

	out_state->cr0 = save->cr0;
	out_state->cr3 = save->cr3;
	out_state->cr4 = save->cr4;
	out_state->efer = save->efer & ~EFER_SVME;
	out_state->dr7 = save->dr7;
	out_state->cs_base = save->cs.base;
	out_state->cs_attributes = svm_attributes_decode(save->cs.attributes);
	out_state->cpl = save->cpl;
}

q_status_t svm_state_set(struct virt_vcpu *vcpu, const struct guest_state *state)
{
	struct vmcb *vmcb = vcpu->vmcb;
	struct vmcb_save save = vmcb->save;

	if (state->efer & EFER_SVME)
		return Q_INVALID;
	segments_encode(state, &save);
#define SET(field) save.field = state->field;
	SAME_FIELDS(SET)
#undef SET
	save.efer = efer_encode(state);
	if (svm_check_save(&save, &svm_features) != 0)
		return Q_INVALID;

	if (translation_differs(&vmcb->save, &save))
		svm_tlb_flush(vcpu);
	vmcb->save = save;
	vmcb->control.interrupt_shadow = state->interrupt_shadow ? VMCB_INTERRUPT_SHADOW : 0;
	svm_nmi_block_set(vmcb, state->nmi_blocked);
	vmcb->control.clean = 0;
	return Q_OK;
}

/* SPDX-License-Identifier: MIT */
/*
 * Copies struct guest_state to VMCS fields and back.
 *
 * CR0 and CR4 have two fields each. The CPU works with the first, some bits of which VMX
 * and Quire determine; the guest reads these bits from the second, the read shadow.
 * EFER.LMA and the IA-32e control are computed from LME and CR0.PG, and the privilege
 * level is the DPL of SS.
 *
 * The page-directory pointers of 32-bit PAE paging are in the VMCS and stay as the CPU
 * saved them: struct guest_state does not have them.
 */
#include <quire/x86_state.h>

#include "vmx_internal.h"

/* Fields of the same name on both sides. */
#define SAME_FIELDS(X) X(cr3) X(dr7) X(pat) X(sysenter_cs) X(sysenter_esp) X(sysenter_eip)
#define LIVE_FIELDS(X) X(star) X(lstar) X(cstar) X(sfmask) X(kernel_gs_base) X(cr2) X(dr6)

static bool is_long_mode(const struct guest_state *state)
{
	return (state->efer & EFER_LME) && (state->cr0 & CR0_PG);
}

/* AMD-V reports a null segment as not present, VT-x as unusable. */
static struct guest_segment segment_encode(const struct guest_segment *segment)
{
	struct guest_segment encoded = *segment;
	if (!(segment->attributes & SEG_ATTR_P))
		encoded.attributes |= SEG_ATTR_UNUSABLE;
	return encoded;
}

static void segments_encode(const struct guest_state *state, struct vmx_guest *guest)
{
	for (unsigned i = 0; i < SEG_COUNT; i++)
		guest->segment[i] = segment_encode(&state->segment[i]);
	struct guest_segment *ss = &guest->segment[SEG_SS];
	ss->attributes = (uint32_t)field_set(ss->attributes, SEG_ATTR_DPL, state->cpl);
	guest->gdtr = state->gdtr;
	guest->idtr = state->idtr;
}

/*
 * Blocking by STI needs RFLAGS.IF, which may still change before the entry. Blocking by MOV
 * SS does not, and blocks interrupts just as well.
 */
static uint32_t blocking_encode(const struct guest_state *state)
{
	return (state->interrupt_shadow ? BLOCKING_MOV_SS : 0) |
	       (state->nmi_blocked ? BLOCKING_NMI : 0);
}

void vmx_state_encode(const struct guest_state *state, const struct vmx_features *features,
		      struct vmx_guest *guest, struct vmx_live *out_live)
{
	segments_encode(state, guest);
#define SET(field) guest->field = state->field;
	SAME_FIELDS(SET)
#undef SET
#define SET_LIVE(field) out_live->field = state->field;
	LIVE_FIELDS(SET_LIVE)
#undef SET_LIVE
	guest->cr0 = (state->cr0 & ~features->cr0_owned) | features->cr0_fixed;
	guest->cr0_shadow = state->cr0;
	guest->cr4 = (state->cr4 & ~features->cr4_owned) | features->cr4_fixed;
	guest->cr4_shadow = state->cr4;
	guest->efer = state->efer & ~EFER_LMA;
	guest->entry_controls &= ~(uint64_t)ENTRY_IA32E;
	if (is_long_mode(state)) {
		guest->efer |= EFER_LMA;
		guest->entry_controls |= ENTRY_IA32E;
	}
	guest->interruptibility = blocking_encode(state);
}

void vmx_state_decode(const struct vmx_guest *guest, const struct vmx_live *live,
		      const struct vmx_features *features, struct guest_state *out_state)
{
	for (unsigned i = 0; i < SEG_COUNT; i++)
		out_state->segment[i] = guest->segment[i];
	out_state->gdtr = guest->gdtr;
	out_state->idtr = guest->idtr;
#define GET(field) out_state->field = guest->field;
	SAME_FIELDS(GET)
#undef GET
#define GET_LIVE(field) out_state->field = live->field;
	LIVE_FIELDS(GET_LIVE)
#undef GET_LIVE
	out_state->cr0 =
		(guest->cr0 & ~features->cr0_owned) | (guest->cr0_shadow & features->cr0_owned);
	out_state->cr4 =
		(guest->cr4 & ~features->cr4_owned) | (guest->cr4_shadow & features->cr4_owned);
	out_state->efer = guest->efer;
	out_state->cpl = (uint8_t)field_get(guest->segment[SEG_SS].attributes, SEG_ATTR_DPL);
	out_state->interrupt_shadow = guest->interruptibility & BLOCKING_SHADOW;
	out_state->nmi_blocked = guest->interruptibility & BLOCKING_NMI;
}

/* False if WRMSR or MOV to DR6 would fault when vmx_live.c loads these registers. */
static bool live_is_valid(const struct vmx_live *live)
{
	unsigned bits = vmx_features.linear_address_bits;
	return x86_is_canonical(live->lstar, bits) && x86_is_canonical(live->cstar, bits) &&
	       x86_is_canonical(live->kernel_gs_base, bits) && !(live->sfmask >> 32) &&
	       !(live->dr6 >> 32);
}

/* True if the guest's TLB must be flushed, as MOV to a control register flushes it. */
static bool translation_differs(const struct vmx_guest *a, const struct vmx_guest *b)
{
	return a->cr0 != b->cr0 || a->cr3 != b->cr3 || a->cr4 != b->cr4 || a->efer != b->efer;
}

void vmx_state_get(struct virt_vcpu *vcpu, struct guest_state *out_state)
{
	struct vmx_guest guest;
	struct vmx_live live;
	vmx_guest_read(vcpu, &guest);
	vmx_live_get(vcpu, &live);
	vmx_state_decode(&guest, &live, &vmx_features, out_state);
}

void vmx_code_state_get(struct virt_vcpu *vcpu, struct guest_code_state *out_state)
{
	uint64_t cr0_owned = vmx_features.cr0_owned, cr4_owned = vmx_features.cr4_owned;

	vmx_vmcs_load(vcpu);
	out_state->cr0 = (vmcs_read(vcpu, VMCS_GUEST_CR0) & ~cr0_owned) |
			 (vmcs_read(vcpu, VMCS_CR0_SHADOW) & cr0_owned);
	out_state->cr4 = (vmcs_read(vcpu, VMCS_GUEST_CR4) & ~cr4_owned) |
			 (vmcs_read(vcpu, VMCS_CR4_SHADOW) & cr4_owned);
	out_state->cr3 = vmcs_read(vcpu, VMCS_GUEST_CR3);
	out_state->efer = vmcs_read(vcpu, VMCS_GUEST_EFER);
	out_state->dr7 = vmcs_read(vcpu, VMCS_GUEST_DR7);
	out_state->cs_base = vmcs_read(vcpu, VMCS_GUEST_BASE + 2 * SEG_CS);
	out_state->cs_attributes = (uint32_t)vmcs_read(vcpu, VMCS_GUEST_ATTRIBUTES + 2 * SEG_CS);
	out_state->cpl = (uint8_t)field_get(vmcs_read(vcpu, VMCS_GUEST_ATTRIBUTES + 2 * SEG_SS),
					    SEG_ATTR_DPL);
}

q_status_t vmx_state_set(struct virt_vcpu *vcpu, const struct guest_state *state)
{
	struct vmx_guest old;
	vmx_guest_read(vcpu, &old);
	struct vmx_guest guest = old;
	struct vmx_live live;

	if (state->cpl > 3)
		return Q_INVALID;
	vmx_state_encode(state, &vmx_features, &guest, &live);
	/* RIP and RFLAGS are set at the entry. Here only the flags matter on which rules depend. */
	guest.rip = 0;
	guest.rflags = (vcpu->regs->rflags & (RFLAGS_VM | RFLAGS_TF)) | RFLAGS_FIXED;
	if (!live_is_valid(&live) || vmx_check_guest(&guest, &vmx_features) != 0)
		return Q_INVALID;

	if (translation_differs(&old, &guest))
		vcpu->flush |= VMX_FLUSH_LINEAR;
	vmx_guest_write(vcpu, &guest, &old);
	vmx_live_set(vcpu, &live);
	return Q_OK;
}

/* SPDX-License-Identifier: MIT */
/* struct guest_state to the save area of a VMCB and back. */
#include "svm_model.h"

#include <string.h>

TEST(svm, segment_attributes_move_between_the_forms)
{
	EXPECT(svm_attributes_encode(0xa09b) == 0xa9b);  /* 64-bit code: G, L, P, S, type B */
	EXPECT(svm_attributes_encode(0xc093) == 0xc93);  /* flat data: G, D/B */
	EXPECT(svm_attributes_encode(0x1093) == 0x193);  /* AVL */
	EXPECT(svm_attributes_encode(0x008b) == 0x08b);  /* busy TSS */
	EXPECT(svm_attributes_encode(0x10093) == 0x013); /* unusable: not present */
	EXPECT(svm_attributes_decode(0xa9b) == 0xa09b);
	EXPECT(svm_attributes_decode(0x000) == 0x10000);
	EXPECT(svm_attributes_decode(0x082) == 0x0082);
	for (uint32_t word = 0; word < 0x1000; word++)
		EXPECT(svm_attributes_encode(svm_attributes_decode((uint16_t)word)) == word);
}

TEST(svm, state_survives_the_round_trip)
{
	set_up();
	cpu_set_up();
	struct guest_state guest = long_mode_state(), back;
	guest.interrupt_shadow = true;
	guest.nmi_blocked = true;
	memset(&back, 0, sizeof(back));
	EXPECT(svm_state_set(&vcpu, &guest) == Q_OK);
	svm_state_get(&vcpu, &back);
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		EXPECT(back.segment[i].base == guest.segment[i].base);
		EXPECT(back.segment[i].limit == guest.segment[i].limit);
		EXPECT(back.segment[i].selector == guest.segment[i].selector);
		EXPECT(back.segment[i].attributes == guest.segment[i].attributes);
	}
	EXPECT(back.gdtr.base == guest.gdtr.base && back.gdtr.limit == guest.gdtr.limit);
	EXPECT(back.idtr.base == guest.idtr.base && back.idtr.limit == guest.idtr.limit);
	EXPECT(back.cr0 == guest.cr0 && back.cr2 == guest.cr2 && back.cr3 == guest.cr3);
	EXPECT(back.cr4 == guest.cr4 && back.efer == guest.efer && back.pat == guest.pat);
	EXPECT(back.dr6 == guest.dr6 && back.dr7 == guest.dr7 && back.cpl == 3);
	EXPECT(back.star == guest.star && back.lstar == guest.lstar && back.cstar == guest.cstar);
	EXPECT(back.sfmask == guest.sfmask && back.kernel_gs_base == guest.kernel_gs_base);
	EXPECT(back.sysenter_cs == guest.sysenter_cs && back.sysenter_esp == guest.sysenter_esp);
	EXPECT(back.sysenter_eip == guest.sysenter_eip);
	EXPECT(back.interrupt_shadow && back.nmi_blocked);
}

TEST(svm, state_lies_where_the_manual_says)
{
	set_up();
	cpu_set_up();
	struct guest_state guest = long_mode_state();
	vmcb.control.clean = ~0u;
	EXPECT(svm_state_set(&vcpu, &guest) == Q_OK);
	EXPECT(peek(0x410, 2) == 8 && peek(0x412, 2) == 0xa9b); /* CS */
	EXPECT(peek(0x414, 4) == 0xfffffffe && peek(0x418, 8) == 0x1000);
	EXPECT(peek(0x458, 8) == 0xffff888000000000);                           /* GS base */
	EXPECT(peek(0x464, 4) == 0x7f && peek(0x468, 8) == 0xffffffff81000000); /* GDTR */
	EXPECT(peek(0x470, 2) == 0x30 && peek(0x490, 2) == 0x38);               /* LDTR, TR */
	EXPECT(peek(0x488, 8) == 0xffffffff82000000);                           /* IDTR */
	EXPECT(peek(0x4cb, 1) == 3 && peek(0x4d0, 8) == 0x1d01); /* CPL, EFER with SVME */
	EXPECT(peek(0x548, 8) == guest.cr4 && peek(0x550, 8) == guest.cr3);
	EXPECT(peek(0x558, 8) == guest.cr0 && peek(0x560, 8) == 0x400);
	EXPECT(peek(0x568, 8) == 0xffff0ff0 && peek(0x600, 8) == 1);
	EXPECT(peek(0x608, 8) == guest.lstar && peek(0x610, 8) == guest.cstar);
	EXPECT(peek(0x618, 8) == 0x47700 && peek(0x620, 8) == guest.kernel_gs_base);
	EXPECT(peek(0x628, 8) == 0x10 && peek(0x630, 8) == guest.sysenter_esp);
	EXPECT(peek(0x638, 8) == guest.sysenter_eip && peek(0x640, 8) == guest.cr2);
	EXPECT(peek(0x668, 8) == guest.pat);
	EXPECT(vmcb.control.clean == 0);
}

TEST(svm, long_mode_active_follows_enable_and_paging)
{
	set_up();
	cpu_set_up();
	struct guest_state guest = long_mode_state();
	guest.efer = 0x901; /* LME without LMA */
	EXPECT(svm_state_set(&vcpu, &guest) == Q_OK);
	EXPECT(peek(0x4d0, 8) == 0x1d01);
	guest.cr0 &= ~CR0_PG;
	guest.efer = 0xd01; /* LMA, but no paging */
	EXPECT(svm_state_set(&vcpu, &guest) == Q_OK);
	EXPECT(peek(0x4d0, 8) == 0x1901);
}

TEST(svm, refused_state_changes_nothing)
{
	set_up();
	cpu_set_up();
	struct guest_state guest = long_mode_state();
	EXPECT(svm_state_set(&vcpu, &guest) == Q_OK);
	struct vmcb before = vmcb;
	guest.cr2 = 0;
	guest.efer |= EFER_SVME;
	EXPECT(svm_state_set(&vcpu, &guest) == Q_INVALID);
	guest.efer = 0xd01;
	guest.cr4 |= BIT64(63);
	EXPECT(svm_state_set(&vcpu, &guest) == Q_INVALID);
	EXPECT(memcmp(&before, &vmcb, sizeof(vmcb)) == 0);
}

TEST(svm, new_address_space_flushes)
{
	set_up();
	cpu_set_up();
	struct guest_state guest = long_mode_state();
	EXPECT(svm_state_set(&vcpu, &guest) == Q_OK);
	vmcb.control.tlb_control = 0;
	guest.cr2 = 0;
	EXPECT(svm_state_set(&vcpu, &guest) == Q_OK && peek(0x05c, 1) == 0);
	guest.cr3 = 0x2000;
	EXPECT(svm_state_set(&vcpu, &guest) == Q_OK && peek(0x05c, 1) == 3);
}

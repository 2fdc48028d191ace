/* SPDX-License-Identifier: MIT */
/* struct guest_state to VMCS fields and back. */
#include "vmx_model.h"

#include <string.h>

TEST(vmx, state_survives_the_round_trip)
{
	struct guest_state states[] = { real_mode_state(), long_mode_state() };
	for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
		struct virt_vcpu vcpu = vcpu_with(states[i]);
		struct guest_state back;
		memset(&back, 0, sizeof(back));
		vmx_state_get(&vcpu, &back);
		EXPECT(memcmp(&back, &states[i], sizeof(back)) == 0);
	}
}

TEST(vmx, bits_that_are_not_the_guests_live_in_the_shadow)
{
	vcpu_with(real_mode_state());
	/* NE is fixed; CD and NW have no effect. */
	EXPECT(fake.guest.cr0 == 0x30 && fake.guest.cr0_shadow == 0x60000010);
	EXPECT(fake.guest.cr4 == 0x2000 && fake.guest.cr4_shadow == 0);
	EXPECT(!(fake.guest.entry_controls & BIT32(9)));
	vcpu_with(long_mode_state());
	EXPECT(fake.guest.entry_controls & BIT32(9) && fake.guest.efer & BIT64(10));
	EXPECT(fake.guest.cr4 == 0x26f0);
}

/* LME is set while paging is off: on the way into long mode. */
TEST(vmx, lma_follows_lme_and_pg)
{
	struct guest_state wanted = real_mode_state();
	wanted.efer = 0x100;
	vcpu_with(wanted);
	EXPECT(fake.guest.efer == 0x100 && !(fake.guest.entry_controls & BIT32(9)));

	struct virt_vcpu vcpu = vcpu_with(long_mode_state());
	EXPECT(vmx_state_set(&vcpu, &wanted) == Q_OK);
	EXPECT(fake.guest.efer == 0x100 && !(fake.guest.entry_controls & BIT32(9)));
}

TEST(vmx, shadow_and_nmi_blocking_and_privilege)
{
	struct guest_state wanted = long_mode_state();
	wanted.interrupt_shadow = true;
	wanted.nmi_blocked = true;
	wanted.segment[SEG_CS] = segment(0x33, 0xffffffff, 0xa0fb);
	wanted.segment[SEG_SS] = segment(0x2b, 0xffffffff, 0xc093); /* DPL 0 against CPL 3 */
	wanted.cpl = 3;
	struct virt_vcpu vcpu = vcpu_with(wanted);
	EXPECT(vcpu.interruptibility == (BIT32(1) | BIT32(3)));
	EXPECT(fake.guest.segment[SEG_SS].attributes == 0xc0f3);
	struct guest_state back;
	vmx_state_get(&vcpu, &back);
	EXPECT(back.interrupt_shadow && back.nmi_blocked && back.cpl == 3);
}

/* AMD-V reports null segments as not present. */
TEST(vmx, segments_that_are_not_present_are_unusable)
{
	struct guest_state wanted = long_mode_state();
	wanted.segment[SEG_DS] = segment(0, 0, 0x13);
	vcpu_with(wanted);
	EXPECT(fake.guest.segment[SEG_DS].attributes == 0x10013);
}

TEST(vmx, a_changed_address_space_is_flushed_and_an_unchanged_one_is_not)
{
	struct guest_state wanted = long_mode_state();
	struct virt_vcpu vcpu = vcpu_with(wanted);
	EXPECT(vcpu.flush == VMX_FLUSH_LINEAR);
	vcpu.flush = 0;
	wanted.cr2 = 0x1234;
	EXPECT(vmx_state_set(&vcpu, &wanted) == Q_OK && vcpu.flush == 0);
	EXPECT(fake.live.cr2 == 0x1234);
	wanted.cr3 = 0x2000;
	EXPECT(vmx_state_set(&vcpu, &wanted) == Q_OK && vcpu.flush == VMX_FLUSH_LINEAR);
}

static void refused(struct virt_vcpu *vcpu, const struct guest_state *wanted)
{
	struct vmx_guest guest = fake.guest;
	struct vmx_live live = fake.live;
	uint32_t flush = vcpu->flush;
	EXPECT(vmx_state_set(vcpu, wanted) == Q_INVALID);
	assert_memory_equal(&guest, &fake.guest, sizeof(guest));
	assert_memory_equal(&live, &fake.live, sizeof(live));
	EXPECT(vcpu->flush == flush);
}

TEST(vmx, refused_state_changes_nothing)
{
	struct guest_state good = long_mode_state();
	struct virt_vcpu vcpu = vcpu_with(good);
#define REFUSED(change)                           \
	do {                                      \
		struct guest_state wanted = good; \
		change;                           \
		refused(&vcpu, &wanted);          \
	} while (0)
	REFUSED(wanted.efer |= BIT64(12));
	REFUSED(wanted.cr4 |= BIT64(13));
	REFUSED(wanted.cr4 |= BIT64(14));
	REFUSED(wanted.cr0 |= BIT64(29));
	REFUSED(wanted.cr0 |= BIT64(32));
	REFUSED(wanted.cr3 |= BIT64(40));
	REFUSED(wanted.cpl = 4);
	REFUSED(wanted.pat = 2);
	REFUSED(wanted.lstar = 0x0000800000000000);
	REFUSED(wanted.cstar = 0xffff7fffffffffff);
	REFUSED(wanted.kernel_gs_base = BIT64(63));
	REFUSED(wanted.sfmask = BIT64(32));
	REFUSED(wanted.dr6 = BIT64(32));
	REFUSED(wanted.dr7 = BIT64(32));
	REFUSED(wanted.gdtr.base = BIT64(47));
	REFUSED(wanted.idtr.limit = 0x10000);
	REFUSED(wanted.segment[SEG_TR].attributes = 0x89);
#undef REFUSED
}

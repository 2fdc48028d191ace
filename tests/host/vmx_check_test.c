/* SPDX-License-Identifier: MIT */
/* The rules for a VMCS: a test breaks one of them at a time, and only that one is noticed. */
#include "vmx_model.h"

#include <string.h>

static struct vmx_guest valid_guest(struct guest_state wanted)
{
	struct virt_vcpu vcpu = vcpu_with(wanted);
	(void)vcpu;
	struct vmx_guest guest = fake.guest;
	EXPECT(vmx_check_guest(&guest, &vmx_features) == 0);
	return guest;
}

/* Makes one change to a valid guest. That must break this rule and no other. */
#define BREAKS(rule, wanted, change)                                                              \
	do {                                                                                      \
		struct vmx_guest guest = valid_guest(wanted);                                     \
		change;                                                                           \
		assert_int_equal(vmx_check_guest(&guest, &vmx_features), BIT64(VMX_RULE_##rule)); \
	} while (0)
#define KEEPS(wanted, change)                                                \
	do {                                                                 \
		struct vmx_guest guest = valid_guest(wanted);                \
		change;                                                      \
		assert_int_equal(vmx_check_guest(&guest, &vmx_features), 0); \
	} while (0)
#define LONG long_mode_state()
#define REAL real_mode_state()

TEST(vmx, rules_for_guest_registers)
{
	BREAKS(CR0_FIXED, LONG, guest.cr0 &= ~BIT64(5));
	BREAKS(CR0_PAGING, LONG, guest.cr0 &= ~BIT64(0));
	BREAKS(CR0_HIGH, LONG, guest.cr0 |= BIT64(32));
	BREAKS(CR0_CACHE, LONG, guest.cr0_shadow |= BIT64(29));
	BREAKS(CR3_RESERVED, LONG, guest.cr3 |= BIT64(40));
	KEEPS(LONG, guest.cr3 |= BIT64(39));
	BREAKS(CR4_FIXED, LONG, guest.cr4 &= ~BIT64(13));
	BREAKS(CR4_RESERVED, LONG, guest.cr4_shadow |= BIT64(13));
	BREAKS(CR4_PCIDE, REAL, guest.cr4 |= BIT64(17));
	KEEPS(LONG, guest.cr4 |= BIT64(17));
	BREAKS(DR7_HIGH, LONG, guest.dr7 |= BIT64(32));
	BREAKS(EFER_RESERVED, LONG, guest.efer |= BIT64(1));
	BREAKS(EFER_LMA, LONG, guest.efer &= ~BIT64(10));
	BREAKS(EFER_LMA, LONG, guest.efer &= ~BIT64(8));
	BREAKS(LONG_MODE_PAE, LONG, guest.cr4 &= ~BIT64(5));
	BREAKS(LONG_MODE_CS, LONG, guest.segment[SEG_CS].attributes |= BIT32(14));
	BREAKS(PAT, LONG, guest.pat = 0x0300000000000000);
	BREAKS(CANONICAL, LONG, guest.sysenter_eip = 0x0000800000000000);
	BREAKS(CANONICAL, LONG, guest.segment[SEG_FS].base = 0xffff7fffffffffff);
	KEEPS(LONG, guest.segment[SEG_LDTR].base = 0xffff7fffffffffff);
}

TEST(vmx, rules_for_guest_segments)
{
	BREAKS(SEGMENT_BASE, REAL, guest.segment[SEG_DS].base = BIT64(32));
	KEEPS(LONG, guest.segment[SEG_DS].base = BIT64(32)); /* unusable */
	KEEPS(REAL, guest.segment[SEG_FS].base = BIT64(32));
	BREAKS(SEGMENT_TYPE, REAL, guest.segment[SEG_SS].attributes = 0x91);
	BREAKS(SEGMENT_TYPE, REAL, guest.segment[SEG_DS].attributes = 0x92);
	BREAKS(SEGMENT_TYPE, REAL, guest.segment[SEG_GS].attributes = 0x99);
	KEEPS(REAL, guest.segment[SEG_GS].attributes = 0x9b);
	KEEPS(REAL, guest.segment[SEG_CS].attributes = 0x93);
	BREAKS(SEGMENT_FLAGS, REAL, guest.segment[SEG_ES].attributes = 0x13);
	BREAKS(SEGMENT_FLAGS, REAL, guest.segment[SEG_CS].attributes |= BIT32(8));
	BREAKS(SEGMENT_DPL, LONG, guest.segment[SEG_CS].attributes = 0xa0fb);
	BREAKS(SEGMENT_DPL, REAL, guest.segment[SEG_CS].attributes = 0xf3);
	BREAKS(SEGMENT_LIMIT, REAL, guest.segment[SEG_DS].limit = 0x100000);
	BREAKS(SEGMENT_LIMIT, LONG, guest.segment[SEG_CS].limit = 0xfffffffe);
	BREAKS(TR, LONG, guest.segment[SEG_TR].attributes = 0x89);
	BREAKS(TR, LONG, guest.segment[SEG_TR].attributes = 0x83);
	KEEPS(REAL, guest.segment[SEG_TR].attributes = 0x83);
	BREAKS(TR, LONG, guest.segment[SEG_TR].attributes |= SEG_ATTR_UNUSABLE);
	BREAKS(TR, LONG, guest.segment[SEG_TR].selector = 0x44);
	BREAKS(LDTR, REAL, guest.segment[SEG_LDTR].attributes = 0x83);
	BREAKS(TABLE_LIMIT, LONG, guest.gdtr.limit = 0x10000);
}

TEST(vmx, rules_for_virtual_8086_mode)
{
	struct guest_state wanted = real_mode_state();
	wanted.cr0 = 0x31;
	struct vmx_guest guest = valid_guest(wanted);
	guest.rflags |= BIT64(17);
	for (unsigned i = SEG_ES; i <= SEG_GS; i++)
		guest.segment[i] = (struct guest_segment){
			.selector = 0x1234, .base = 0x12340, .limit = 0xffff, .attributes = 0xf3
		};
	assert_int_equal(vmx_check_guest(&guest, &vmx_features), 0);
	guest.segment[SEG_GS].base++;
	assert_int_equal(vmx_check_guest(&guest, &vmx_features), BIT64(VMX_RULE_SEGMENT_V8086));
	guest.segment[SEG_GS].base--;
	guest.cr0 &= ~BIT64(0);
	assert_int_equal(vmx_check_guest(&guest, &vmx_features), BIT64(VMX_RULE_RFLAGS_VM));
}

TEST(vmx, rules_for_what_the_guest_is_about_to_do)
{
	BREAKS(RIP, REAL, guest.rip = BIT64(32));
	KEEPS(LONG, guest.rip = 0xffffffff81000000);
	/* The first address behind the lower half: the fetch faults, the entry succeeds. */
	KEEPS(LONG, guest.rip = 0x0000800000000000);
	BREAKS(RIP, LONG, guest.rip = 0x0001000000000000);
	BREAKS(RFLAGS, LONG, guest.rflags &= ~BIT64(1));
	BREAKS(RFLAGS, LONG, guest.rflags |= BIT64(3));
	BREAKS(RFLAGS, LONG, guest.rflags |= BIT64(22));
	BREAKS(ACTIVITY, LONG, guest.activity = 1);
	BREAKS(INTERRUPTIBILITY, LONG, guest.interruptibility = 1); /* STI without IF */
	KEEPS(LONG, (guest.interruptibility = 1, guest.rflags |= BIT64(9)));
	BREAKS(INTERRUPTIBILITY, LONG, (guest.interruptibility = 3, guest.rflags |= BIT64(9)));
	BREAKS(INTERRUPTIBILITY, LONG, guest.interruptibility = 4);
	BREAKS(INTERRUPTIBILITY, LONG, guest.interruptibility = 32);
	BREAKS(PENDING_DEBUG, LONG, guest.pending_debug = BIT64(5));
	BREAKS(PENDING_DEBUG, LONG, (guest.interruptibility = 2, guest.rflags |= BIT64(8)));
	KEEPS(LONG, (guest.interruptibility = 2, guest.rflags |= BIT64(8),
		     guest.pending_debug = BIT64(14)));
	BREAKS(LINK_POINTER, LONG, guest.link_pointer = 0);
}

static struct vmx_controls valid_controls(void)
{
	vmx_features = decode_features(&skylake);
	return (struct vmx_controls){
		.vpid = 1,
		.pin = vmx_features.pin,
		.primary = vmx_features.primary,
		.secondary = vmx_features.secondary,
		.exit = vmx_features.exit,
		.entry = vmx_features.entry,
		.msr_bitmap = 0x200000,
		.virtual_apic = 0x201000,
		.eptp = 0x20205e,
	};
}

#define CONTROL_BREAKS(rule, change)                                           \
	do {                                                                   \
		struct vmx_controls controls = valid_controls();               \
		change;                                                        \
		assert_int_equal(vmx_check_controls(&controls, &vmx_features), \
				 BIT64(VMX_RULE_##rule));                      \
	} while (0)

TEST(vmx, rules_for_controls)
{
	struct vmx_controls valid = valid_controls();
	assert_int_equal(vmx_check_controls(&valid, &vmx_features), 0);
	CONTROL_BREAKS(PIN_CONTROLS, controls.pin &= ~BIT64(1));
	CONTROL_BREAKS(PIN_CONTROLS, controls.pin |= BIT64(7));
	CONTROL_BREAKS(PRIMARY_CONTROLS, controls.primary |= BIT64(27));
	CONTROL_BREAKS(SECONDARY_CONTROLS, controls.secondary |= BIT64(15));
	CONTROL_BREAKS(EXIT_CONTROLS, controls.exit |= BIT64(23));
	CONTROL_BREAKS(ENTRY_CONTROLS, controls.entry |= BIT64(16));
	CONTROL_BREAKS(MSR_BITMAP, controls.msr_bitmap |= 8);
	CONTROL_BREAKS(VIRTUAL_APIC, controls.virtual_apic |= BIT64(40));
	CONTROL_BREAKS(TPR_THRESHOLD, controls.tpr_threshold = 16);
	CONTROL_BREAKS(VPID, controls.vpid = 0);
	CONTROL_BREAKS(EPTP, controls.eptp = 0x202058); /* uncached */
	CONTROL_BREAKS(EPTP, controls.eptp = 0x202056); /* three levels */
	CONTROL_BREAKS(EPTP, controls.eptp = 0x2020de); /* bit 7 */
	CONTROL_BREAKS(EPTP, controls.eptp |= BIT64(40));
	CONTROL_BREAKS(UNRESTRICTED_GUEST, controls.secondary &= ~BIT64(1));
	CONTROL_BREAKS(VIRTUAL_NMIS, controls.pin &= ~BIT64(3));
	CONTROL_BREAKS(TIMER_SAVE, (controls.pin &= ~BIT64(6), controls.exit |= BIT64(22)));
}

static uint64_t check_event(struct vmx_guest *guest, uint32_t event, uint32_t insn_length)
{
	struct vmx_controls controls = valid_controls();
	controls.event = event;
	controls.event_insn_length = insn_length;
	return vmx_check_event(&controls, guest);
}

TEST(vmx, rules_for_events)
{
	struct vmx_guest guest = valid_guest(long_mode_state());
	assert_int_equal(check_event(&guest, 0x0000f7ff, 0), 0); /* no event: nothing to check */
	assert_int_equal(check_event(&guest, 0x80000030, 0), BIT64(VMX_RULE_EVENT_IF));
	guest.rflags |= BIT64(9);
	assert_int_equal(check_event(&guest, 0x80000030, 0), 0);
	assert_int_equal(check_event(&guest, 0x80000b0e, 0), 0);
	assert_int_equal(check_event(&guest, 0x80000480, 2), 0);
	assert_int_equal(check_event(&guest, 0x80000130, 0), BIT64(VMX_RULE_EVENT_TYPE));
	assert_int_equal(check_event(&guest, 0x80000203, 0), BIT64(VMX_RULE_EVENT_VECTOR));
	assert_int_equal(check_event(&guest, 0x80000320, 0), BIT64(VMX_RULE_EVENT_VECTOR));
	assert_int_equal(check_event(&guest, 0x8000030d, 0), BIT64(VMX_RULE_EVENT_ERROR_CODE));
	assert_int_equal(check_event(&guest, 0x80000b06, 0), BIT64(VMX_RULE_EVENT_ERROR_CODE));
	assert_int_equal(check_event(&guest, 0x80001030, 0), BIT64(VMX_RULE_EVENT_RESERVED));
	assert_int_equal(check_event(&guest, 0x80000480, 0), BIT64(VMX_RULE_EVENT_LENGTH));
	assert_int_equal(check_event(&guest, 0x80000603, 16), BIT64(VMX_RULE_EVENT_LENGTH));
	guest.interruptibility = 1;
	assert_int_equal(check_event(&guest, 0x80000030, 0), BIT64(VMX_RULE_EVENT_BLOCKED));
	assert_int_equal(check_event(&guest, 0x80000306, 0), 0);
	guest.interruptibility = 8;
	assert_int_equal(check_event(&guest, 0x80000202, 0), BIT64(VMX_RULE_EVENT_BLOCKED));
	guest.cr0 &= ~BIT64(0);
	assert_int_equal(check_event(&guest, 0x80000b0d, 0), BIT64(VMX_RULE_EVENT_ERROR_CODE));
}

#define HOST_BREAKS(rule, change)                                                               \
	do {                                                                                    \
		struct vmx_host host = valid;                                                   \
		change;                                                                         \
		assert_int_equal(vmx_check_host(&host, &vmx_features), BIT64(VMX_RULE_##rule)); \
	} while (0)

TEST(vmx, rules_for_host_state)
{
	struct vmx_host valid = { .cr0 = 0x80010033,
				  .cr3 = 0x1000,
				  .cr4 = 0x20a0,
				  .efer = 0xd00,
				  .pat = 0x0007040600070406,
				  .es = 0x10,
				  .cs = 8,
				  .ss = 0x10,
				  .ds = 0x10,
				  .tr = 0x18,
				  .gs_base = 0xffffffff80200000,
				  .rip = 0xffffffff80100000 };
	vmx_features = decode_features(&skylake);
	assert_int_equal(vmx_check_host(&valid, &vmx_features), 0);
	HOST_BREAKS(HOST_CR0, host.cr0 &= ~BIT64(5));
	HOST_BREAKS(HOST_CR3, host.cr3 |= BIT64(40));
	HOST_BREAKS(HOST_CR4, host.cr4 &= ~BIT64(13));
	HOST_BREAKS(HOST_EFER, host.efer &= ~BIT64(10));
	HOST_BREAKS(HOST_PAT, host.pat = 3);
	HOST_BREAKS(HOST_SELECTORS, host.cs = 0);
	HOST_BREAKS(HOST_SELECTORS, host.ss = 0x13);
	HOST_BREAKS(HOST_CANONICAL, host.gs_base = BIT64(47));
}

TEST(vmx, a_refused_entry_is_explained)
{
	struct virt_vcpu vcpu = vcpu_with(long_mode_state());
	fake.controls = valid_controls();
	fake.host = (struct vmx_host){ 0 };
	fake.guest.cr4 = 0;
	vcpu.entry_error = 7;
	EXPECT(!vmx_check(&vcpu));
	for (uint32_t error = 0; error < 40; error++)
		EXPECT(vmx_error_text(error) != NULL);
	EXPECT(strstr(vmx_error_text(8), "host state"));
	EXPECT(strstr(vmx_error_text(~0u), "no error"));
}

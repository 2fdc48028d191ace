/* SPDX-License-Identifier: MIT */
/*
 * Events for the guest: the words that inject and report them, the interrupt window, what
 * blocks interrupts and NMIs, and virtual interrupts, which avoid a defect of QEMU.
 */
#include "svm_model.h"

#include <string.h>

TEST(svm, event_words_are_the_manuals)
{
	struct guest_event irq = { .type = GUEST_EVENT_INTERRUPT, .vector = 0x30 };
	EXPECT(svm_event_encode(&irq) == 0x80000030);
	struct guest_event nmi = { .type = GUEST_EVENT_NMI, .vector = 2 };
	EXPECT(svm_event_encode(&nmi) == 0x80000202);
	struct guest_event gp = { .type = GUEST_EVENT_EXCEPTION,
				  .vector = VECTOR_GP,
				  .has_error_code = true,
				  .error_code = 0xdeadbeef };
	EXPECT(svm_event_encode(&gp) == 0xdeadbeef80000b0d);
	struct guest_event ud = { .type = GUEST_EVENT_EXCEPTION, .vector = VECTOR_UD };
	EXPECT(svm_event_encode(&ud) == 0x80000306);
	struct guest_event swint = { .type = GUEST_EVENT_SOFT_INTERRUPT, .vector = 0x80 };
	EXPECT(svm_event_encode(&swint) == 0x80000480);
	struct guest_event none = { .type = GUEST_EVENT_NONE };
	EXPECT(svm_event_encode(&none) == 0);
}

static bool round_trips(struct guest_event event)
{
	struct guest_event back;
	memset(&back, 0xa5, sizeof(back));
	return svm_event_decode(svm_event_encode(&event), &back) && back.type == event.type &&
	       back.vector == event.vector && back.has_error_code == event.has_error_code &&
	       back.error_code == event.error_code;
}

TEST(svm, every_event_survives_the_round_trip)
{
	for (unsigned vector = 0; vector < 256; vector++) {
		uint8_t v = (uint8_t)vector;
		EXPECT(round_trips(
			(struct guest_event){ .type = GUEST_EVENT_INTERRUPT, .vector = v }));
		EXPECT(round_trips(
			(struct guest_event){ .type = GUEST_EVENT_SOFT_INTERRUPT, .vector = v }));
		EXPECT(round_trips((struct guest_event){ .type = GUEST_EVENT_NMI, .vector = v }));
	}
	for (unsigned vector = 0; vector < 32; vector++) {
		bool is_soft = vector == 3 || vector == 4;
		struct guest_event event = {
			.type = is_soft ? GUEST_EVENT_SOFT_EXCEPTION : GUEST_EVENT_EXCEPTION,
			.vector = (uint8_t)vector,
		};
		EXPECT(round_trips(event));
		event.has_error_code = true;
		event.error_code = 0x80000000u | vector;
		EXPECT(round_trips(event));
	}
}

TEST(svm, words_without_an_event_are_refused)
{
	struct guest_event event;
	EXPECT(!svm_event_decode(0, &event));
	EXPECT(!svm_event_decode(0x7fffffff, &event));
	EXPECT(!svm_event_decode(0x80000130, &event)); /* type 1 */
	for (uint64_t type = 5; type <= 7; type++)
		EXPECT(!svm_event_decode(0x80000030 | type << 8, &event));
}

static bool vectoring_after(uint64_t exit_int_info)
{
	set_up();
	poke(0x070, 0x400, 8);
	poke(0x088, exit_int_info, 8);
	svm_exit_decode(&vmcb, &vmexit);
	return vmexit.has_vectoring;
}

TEST(svm, interrupted_delivery_is_reported)
{
	EXPECT(vectoring_after(0x80000031));
	EXPECT(vmexit.vectoring.type == GUEST_EVENT_INTERRUPT && vmexit.vectoring.vector == 0x31);
	EXPECT(vmexit.kind == VMEXIT_MEMORY);
	EXPECT(vectoring_after(0x0000000680000b0e));
	EXPECT(vmexit.vectoring.type == GUEST_EVENT_EXCEPTION && vmexit.vectoring.vector == 14);
	EXPECT(vmexit.vectoring.has_error_code && vmexit.vectoring.error_code == 6);
	EXPECT(vectoring_after(0x80000202));
	EXPECT(vmexit.vectoring.type == GUEST_EVENT_NMI);
	EXPECT(!vectoring_after(0x00000b0e));
}

TEST(svm, software_interrupts_are_repeated_by_the_guest)
{
	EXPECT(!vectoring_after(0x80000480)); /* INT 80h */
	EXPECT(!vectoring_after(0x80000303)); /* INT3 */
	EXPECT(!vectoring_after(0x80000304)); /* INTO */
	EXPECT(!vectoring_after(0x80000403)); /* INT3 as QEMU reports it */

	set_up();
	struct guest_event swint = { .type = GUEST_EVENT_SOFT_INTERRUPT, .vector = 0x80 };
	svm_event_inject(&vcpu, &swint);
	EXPECT(peek(0x0a8, 8) == 0);
}

TEST(svm, injection_replaces_and_ends_the_shadow)
{
	set_up();
	poke(0x068, 1, 8);
	struct guest_event irq = { .type = GUEST_EVENT_INTERRUPT, .vector = 0x30 };
	svm_event_inject(&vcpu, &irq);
	EXPECT(peek(0x0a8, 8) == 0x80000030 && peek(0x068, 8) == 0);
	struct guest_event none = { .type = GUEST_EVENT_NONE };
	svm_event_inject(&vcpu, &none);
	EXPECT(peek(0x0a8, 8) == 0);
}

TEST(svm, nmi_blocks_until_iret_is_seen)
{
	set_up();
	struct guest_event nmi = { .type = GUEST_EVENT_NMI, .vector = 2 };
	svm_event_inject(&vcpu, &nmi);
	EXPECT(svm_nmi_is_blocked(&vmcb));
	EXPECT(peek(0x00c, 4) == 1u << 20);
	svm_nmi_block_set(&vmcb, false);
	EXPECT(!svm_nmi_is_blocked(&vmcb) && peek(0x00c, 4) == 0);
}

TEST(svm, window_is_a_virtual_interrupt_of_highest_priority)
{
	set_up();
	poke(0x060, 0x5, 1);
	poke(0x063, 0x1, 1);
	vmcb.control.clean = ~0u;
	svm_interrupt_window_set(&vcpu, true);
	/* V_TPR 7:0 kept, V_IRQ 8, priority 19:16, V_IGN_TPR 20, V_INTR_MASKING 24 */
	EXPECT(peek(0x060, 8) == 0x011f0105);
	EXPECT(peek(0x00c, 4) == 1u << 4);
	EXPECT(!(vmcb.control.clean & 1));
	svm_interrupt_window_set(&vcpu, false);
	EXPECT(peek(0x060, 8) == 0x01000005);
	EXPECT(peek(0x00c, 4) == 0);
}

/* --- virtual interrupts, where EVENTINJ may deliver twice -------------------------------- */

#define V_IRQ_OF(vector) ((uint64_t)(vector) << 32 | 0x001f0100)
#define V_IRQ_FIELDS     0x000000ff001fff00
#define IS_VIRTUAL(vector) \
	((peek(0x060, 8) & V_IRQ_FIELDS) == V_IRQ_OF(vector) && peek(0x0a8, 8) == 0)
#define IS_IN_EVENTINJ(vector) (peek(0x0a8, 8) == (0x80000000 | (vector)) && is_window_or_none())

/* True if V_IRQ delivers no interrupt: it is clear, or it is the window. */
static bool is_window_or_none(void)
{
	return !(peek(0x060, 8) & 0x100) || (peek(0x00c, 4) & 1u << 4);
}

static void set_up_emulated(void)
{
	set_up();
	vcpu.regs = &regs;
	regs.rflags = RFLAGS_FIXED | RFLAGS_IF;
	svm_features.injects_twice = true;
}

static void inject_interrupt(uint8_t vector)
{
	svm_event_inject(&vcpu,
			 &(struct guest_event){ .type = GUEST_EVENT_INTERRUPT, .vector = vector });
}

TEST(svm, on_qemu_an_interrupt_is_a_virtual_one)
{
	set_up_emulated();
	poke(0x068, 1, 8);
	inject_interrupt(0x30);
	EXPECT(IS_VIRTUAL(0x30) && peek(0x00c, 4) == 0 && peek(0x068, 8) == 0);
	/* Another interrupt, another event, or no event: each replaces it. */
	inject_interrupt(0x41);
	EXPECT(IS_VIRTUAL(0x41));
	svm_event_inject(&vcpu, &(struct guest_event){ .type = GUEST_EVENT_NMI, .vector = 2 });
	EXPECT(peek(0x0a8, 8) == 0x80000202 && !(peek(0x060, 8) & 0x100));
	inject_interrupt(0x30);
	svm_event_inject(&vcpu, &(struct guest_event){ .type = GUEST_EVENT_NONE });
	EXPECT(peek(0x0a8, 8) == 0 && !(peek(0x060, 8) & 0x100));
}

TEST(svm, what_cannot_be_virtual_is_injected)
{
	set_up_emulated();
	/* In turn: an exception's vector, RFLAGS.IF clear, no defect, no interrupt. */
	inject_interrupt(0x1f);
	EXPECT(IS_IN_EVENTINJ(0x1f));
	regs.rflags = RFLAGS_FIXED;
	inject_interrupt(0x30);
	EXPECT(IS_IN_EVENTINJ(0x30));
	regs.rflags |= RFLAGS_IF;
	svm_features.injects_twice = false;
	inject_interrupt(0x30);
	EXPECT(IS_IN_EVENTINJ(0x30));
	svm_features.injects_twice = true;
	svm_event_inject(&vcpu,
			 &(struct guest_event){ .type = GUEST_EVENT_EXCEPTION, .vector = 14 });
	EXPECT(peek(0x0a8, 8) == 0x8000030e && !(peek(0x060, 8) & 0x100));
}

/* There is one V_IRQ. It is the window while that is wanted, whichever came first. */
TEST(svm, the_window_comes_before_virtual_interrupts)
{
	set_up_emulated();
	svm_interrupt_window_set(&vcpu, true);
	inject_interrupt(0x30);
	EXPECT(IS_IN_EVENTINJ(0x30) && (peek(0x00c, 4) & 1u << 4));
	svm_interrupt_window_set(&vcpu, false);
	EXPECT(IS_VIRTUAL(0x30) && peek(0x00c, 4) == 0);
	svm_interrupt_window_set(&vcpu, true);
	EXPECT(IS_IN_EVENTINJ(0x30) && (peek(0x060, 8) & 0x1fff00) == 0x1f0100);
}

static bool undelivered_after(uint64_t code)
{
	poke(0x070, code, 8);
	svm_exit_decode(&vmcb, &vmexit);
	return vmexit.has_vectoring;
}

/* If it was not delivered, or its delivery was interrupted, it is injected again, but once. */
TEST(svm, a_virtual_interrupt_that_was_not_delivered_is_reported)
{
	set_up_emulated();
	inject_interrupt(0x30);
	EXPECT(undelivered_after(0x60) && vmexit.kind == VMEXIT_HOST_INTERRUPT);
	EXPECT(vmexit.vectoring.type == GUEST_EVENT_INTERRUPT && vmexit.vectoring.vector == 0x30);
	svm_event_inject(&vcpu, &vmexit.vectoring);
	EXPECT(IS_VIRTUAL(0x30) && undelivered_after(0x61));
	/* When it was delivered, the CPU has cleared V_IRQ. The window is no interrupt. */
	poke(0x061, 0, 1);
	EXPECT(!undelivered_after(0x60));
	svm_interrupt_window_set(&vcpu, true);
	EXPECT(!undelivered_after(0x60));
	/* QEMU reports a nested page fault during the delivery this way. */
	EXPECT(vectoring_after(0x80000330));
	EXPECT(vmexit.vectoring.type == GUEST_EVENT_INTERRUPT && vmexit.vectoring.vector == 0x30);
}

TEST(svm, skipping_an_instruction_ends_the_shadow)
{
	set_up();
	poke(0x068, 1, 8);
	svm_insn_skipped(&vcpu);
	EXPECT(peek(0x068, 8) == 0);
}

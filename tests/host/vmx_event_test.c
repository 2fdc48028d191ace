/* SPDX-License-Identifier: MIT */
/* Events for the guest: the words that inject and report them. */
#include "vmx_model.h"

static uint32_t encode(enum guest_event_type type, uint8_t vector, bool is_protected)
{
	struct guest_event event = { .type = type, .vector = vector };
	return vmx_event_encode(&event, is_protected);
}

TEST(vmx, events_as_the_manual_draws_them)
{
	EXPECT(encode(GUEST_EVENT_NONE, 0x30, true) == 0);
	EXPECT(encode(GUEST_EVENT_INTERRUPT, 0x30, true) == 0x80000030);
	EXPECT(encode(GUEST_EVENT_NMI, 2, true) == 0x80000202);
	EXPECT(encode(GUEST_EVENT_EXCEPTION, VECTOR_UD, true) == 0x80000306);
	EXPECT(encode(GUEST_EVENT_EXCEPTION, VECTOR_GP, true) == 0x80000b0d);
	EXPECT(encode(GUEST_EVENT_SOFT_INTERRUPT, 0x80, true) == 0x80000480);
	EXPECT(encode(GUEST_EVENT_SOFT_EXCEPTION, VECTOR_BP, true) == 0x80000603);
	EXPECT(encode(GUEST_EVENT_INTERRUPT, VECTOR_GP, true) == 0x8000000d);
}

/* Otherwise the entry would fail, and a guest can bring about both. */
TEST(vmx, error_codes_go_where_the_cpu_pushes_them_and_nowhere_else)
{
	EXPECT(encode(GUEST_EVENT_EXCEPTION, VECTOR_GP, false) == 0x8000030d);
	struct guest_event event = { .type = GUEST_EVENT_EXCEPTION,
				     .vector = VECTOR_UD,
				     .has_error_code = true };
	EXPECT(vmx_event_encode(&event, true) == 0x80000306);
	for (unsigned vector = 0; vector < 32; vector++) {
		bool pushes = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
		uint32_t word = encode(GUEST_EVENT_EXCEPTION, (uint8_t)vector, true);
		EXPECT(!!(word & 0x800) == pushes);
	}
}

TEST(vmx, events_survive_the_round_trip)
{
	for (int type = GUEST_EVENT_INTERRUPT; type <= GUEST_EVENT_SOFT_EXCEPTION; type++) {
		for (unsigned vector = 0; vector < 256; vector++) {
			struct guest_event event = { .type = (enum guest_event_type)type,
						     .vector = (uint8_t)vector };
			uint32_t word = vmx_event_encode(&event, true);
			struct guest_event back;
			EXPECT(vmx_event_decode(word, 7, 3, &back));
			EXPECT(back.type == event.type && back.vector == event.vector);
			EXPECT(back.error_code == (back.has_error_code ? 7 : 0));
			bool is_soft = type >= GUEST_EVENT_SOFT_INTERRUPT;
			EXPECT(back.insn_length == (is_soft ? 3 : 0));
		}
	}
}

TEST(vmx, soft_events_always_have_a_length)
{
	struct guest_event event = { .type = GUEST_EVENT_SOFT_INTERRUPT };
	EXPECT(vmx_event_insn_length(&event) == 2);
	event.insn_length = 5;
	EXPECT(vmx_event_insn_length(&event) == 5);
	event = (struct guest_event){ .type = GUEST_EVENT_SOFT_EXCEPTION };
	EXPECT(vmx_event_insn_length(&event) == 1);
	event = (struct guest_event){ .type = GUEST_EVENT_INTERRUPT, .insn_length = 9 };
	EXPECT(vmx_event_insn_length(&event) == 0);
}

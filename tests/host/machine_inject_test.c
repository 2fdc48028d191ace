/* SPDX-License-Identifier: MIT */
/* Event injection: order, windows, double faults, interrupted deliveries, HLT and CR8. */
#include "machine_fixture.h"

#define VECTOR 0x40u
#define TPR    0x80u

/* Leaves the guest at an instruction at which it can, or cannot, take an interrupt. */
static void leave_with(bool can_interrupt)
{
	cpu->regs.rflags = RFLAGS_FIXED | (can_interrupt ? RFLAGS_IF : 0);
	take_exit(.kind = VMEXIT_HOST_INTERRUPT, .can_interrupt = can_interrupt);
}

static void scene(bool can_interrupt)
{
	set_up_64();
	lapics_enable();
	leave_with(can_interrupt);
}

static bool delivers_interrupt(uint8_t vector)
{
	struct guest_event event = next_event();
	return event.type == GUEST_EVENT_INTERRUPT && event.vector == vector &&
	       !event.has_error_code;
}

static bool delivers_nmi(void)
{
	struct guest_event event = next_event();
	return event.type == GUEST_EVENT_NMI && event.vector == VECTOR_NMI;
}

static bool delivers_nothing(void)
{
	return next_event().type == GUEST_EVENT_NONE;
}

/* --- order -------------------------------------------------------------------------------- */

TEST(machine_inject, exceptions_come_before_nmis_and_these_before_interrupts)
{
	scene(true);
	interrupt_raise(cpu, VECTOR);
	nmi_raise(cpu);
	take_exit(.kind = VMEXIT_INVALID_OPCODE, .can_interrupt = true);
	/* The entry into the guest that then met the bad opcode delivered the first NMI. */
	EXPECT(cpu->virt->delivered.type == GUEST_EVENT_NMI);
	nmi_raise(cpu);
	EXPECT(delivers(VECTOR_UD, NO_CODE));
	EXPECT(delivers_nmi() && cpu->virt->window);
	take_exit(.kind = VMEXIT_INTERRUPT_WINDOW, .can_interrupt = true);
	EXPECT(delivers_interrupt(VECTOR) && delivers_nothing());
	tear_down();
}

TEST(machine_inject, an_entry_delivers_each_event_once)
{
	scene(true);
	interrupt_raise(cpu, VECTOR);
	EXPECT(delivers_interrupt(VECTOR) && delivers_nothing());
	nmi_raise(cpu);
	EXPECT(delivers_nmi() && delivers_nothing());
	take_exit(.kind = VMEXIT_INVALID_OPCODE, .can_interrupt = true);
	EXPECT(delivers(VECTOR_UD, NO_CODE) && delivers_nothing());
	tear_down();
}

TEST(machine_inject, the_highest_interrupt_is_first)
{
	scene(true);
	interrupt_raise(cpu, 0x40);
	interrupt_raise(cpu, 0x80);
	EXPECT(delivers_interrupt(0x80));
	/* The lower one waits until the guest ends the higher one. */
	EXPECT(delivers_nothing() && !cpu->virt->window);
	lapic_set(cpu, 0xb0, 0);
	EXPECT(delivers_interrupt(0x40));
	tear_down();
}

/* --- the window --------------------------------------------------------------------------- */

TEST(machine_inject, an_interrupt_waits_for_its_window)
{
	scene(false);
	interrupt_raise(cpu, VECTOR);
	EXPECT(delivers_nothing() && cpu->virt->window);
	EXPECT(delivers_nothing() && cpu->virt->window && cpu->virt->windows == 2);
	cpu->regs.rflags |= RFLAGS_IF;
	take_exit(.kind = VMEXIT_INTERRUPT_WINDOW, .can_interrupt = true);
	EXPECT(cpu->regs.rip == CODE_AT);
	EXPECT(delivers_interrupt(VECTOR) && !cpu->virt->window && cpu->virt->windows == 3);
	tear_down();
}

/* RFLAGS.IF is not enough: STI and MOV SS have a shadow of one instruction. */
TEST(machine_inject, a_shadow_holds_interrupts_back)
{
	scene(false);
	cpu->regs.rflags |= RFLAGS_IF;
	interrupt_raise(cpu, VECTOR);
	EXPECT(delivers_nothing() && cpu->virt->window);
	/* Skipping an instruction for the guest ends it. */
	take_exit(.kind = VMEXIT_WBINVD, .insn_length = 2);
	cpu->injection_is_due = true;
	EXPECT(delivers_interrupt(VECTOR));
	tear_down();
}

TEST(machine_inject, an_interrupt_behind_another_event_asks_for_a_window)
{
	scene(true);
	take_exit(.kind = VMEXIT_INVALID_OPCODE, .can_interrupt = true);
	interrupt_raise(cpu, VECTOR);
	EXPECT(delivers(VECTOR_UD, NO_CODE) && cpu->virt->window);
	take_exit(.kind = VMEXIT_INTERRUPT_WINDOW, .can_interrupt = true);
	EXPECT(delivers_interrupt(VECTOR) && !cpu->virt->window);
	tear_down();
}

TEST(machine_inject, the_window_goes_with_the_interrupt)
{
	scene(false);
	interrupt_raise(cpu, VECTOR);
	EXPECT(delivers_nothing() && cpu->virt->window);
	lapic_set(cpu, TPR, 0x50); /* masks it */
	EXPECT(delivers_nothing() && cpu->virt->window);
	cpu->injection_is_due = true;
	EXPECT(delivers_nothing() && !cpu->virt->window);
	lapic_set(cpu, TPR, 0);
	EXPECT(delivers_nothing() && cpu->virt->window);
	tear_down();
}

/* --- NMIs --------------------------------------------------------------------------------- */

TEST(machine_inject, an_nmi_needs_no_window)
{
	scene(false);
	nmi_raise(cpu);
	EXPECT(delivers_nmi() && delivers_nothing() && cpu->virt->windows == 1);
	tear_down();
}

TEST(machine_inject, a_blocked_nmi_waits_for_the_first_entry_without_blocking)
{
	scene(true);
	cpu->virt->state.nmi_blocked = true;
	nmi_raise(cpu);
	interrupt_raise(cpu, VECTOR);
	EXPECT(delivers_interrupt(VECTOR)); /* does not wait for the NMI */
	EXPECT(delivers_nothing() && delivers_nothing());
	cpu->virt->state.nmi_blocked = false;
	EXPECT(delivers_nmi() && delivers_nothing());
	tear_down();
}

TEST(machine_inject, a_vcpu_can_send_itself_an_nmi)
{
	scene(false);
	lapic_set(cpu, 0x300, 0x44400);
	EXPECT(cpu->requests == 0 && delivers_nmi() && delivers_nothing());
	tear_down();
}

TEST(machine_inject, two_nmis_are_one)
{
	scene(true);
	cpu->virt->state.nmi_blocked = true;
	nmi_raise(cpu);
	EXPECT(delivers_nothing());
	nmi_raise(cpu);
	EXPECT(delivers_nothing());
	cpu->virt->state.nmi_blocked = false;
	EXPECT(delivers_nmi() && delivers_nothing());
	tear_down();
}

/* --- an exception while another one is delivered ------------------------------------------ */

static bool pushes_error_code(unsigned vector)
{
	return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

/* Takes an exit that interrupted the delivery of `first` and whose handler raises `second`. */
static void raise_while_delivering(unsigned first, unsigned second)
{
	take_exit(.kind = VMEXIT_EXCEPTION, .has_vectoring = true,
		  .vectoring = { .type = GUEST_EVENT_EXCEPTION,
				 .vector = (uint8_t)first,
				 .has_error_code = pushes_error_code(first),
				 .error_code = 0x70 },
		  .exception = { .vector = (uint8_t)second,
				 .has_error_code = pushes_error_code(second),
				 .error_code = 0x50 });
}

/* Intel SDM vol. 3, "Interrupt 8: Double Fault". */
static bool is_contributory(unsigned vector)
{
	return vector == 0 || vector == 10 || vector == 11 || vector == 12 || vector == 13;
}

static bool becomes_double_fault(unsigned first, unsigned second)
{
	if (is_contributory(first))
		return is_contributory(second);
	return first == 14 && (second == 14 || is_contributory(second));
}

TEST(machine_inject, two_faults_become_a_double_fault_as_the_manual_says)
{
	scene(true);
	for (unsigned first = 0; first < 22; first++) {
		for (unsigned second = 0; second < 22; second++) {
			if (first == 2 || first == 8 || second == 2 || second == 8)
				continue;
			raise_while_delivering(first, second);
			EXPECT(taken.wish.kind == VCPU_WISH_NOTHING);
			if (becomes_double_fault(first, second))
				EXPECT(delivers(VECTOR_DF, 0));
			else
				EXPECT(delivers(second,
						pushes_error_code(second) ? 0x50 : NO_CODE));
			EXPECT(delivers_nothing());
		}
	}
	tear_down();
}

TEST(machine_inject, a_fault_in_a_double_fault_stops_the_machine)
{
	scene(true);
	for (unsigned second = 0; second < 20; second++) {
		if (second == 2)
			continue;
		raise_while_delivering(VECTOR_DF, second);
		EXPECT(taken.wish.kind == VCPU_WISH_STOP);
		EXPECT(strcmp(taken.wish.reason, "triple fault") == 0);
	}
	tear_down();
}

TEST(machine_inject, other_events_make_no_double_fault)
{
	static const enum guest_event_type types[] = { GUEST_EVENT_INTERRUPT, GUEST_EVENT_NMI,
						       GUEST_EVENT_SOFT_INTERRUPT,
						       GUEST_EVENT_SOFT_EXCEPTION };
	scene(true);
	for (unsigned i = 0; i < ARRAY_COUNT(types); i++) {
		take_exit(.kind = VMEXIT_EXCEPTION, .can_interrupt = true, .has_vectoring = true,
			  .vectoring = { .type = types[i],
					 .vector = types[i] == GUEST_EVENT_NMI ? 2 : 13 },
			  .exception = { .vector = VECTOR_GP, .has_error_code = true });
		EXPECT(delivers(VECTOR_GP, 0) && delivers_nothing());
	}
	/* A delivery that an earlier exit interrupted does not count. */
	raise_while_delivering(VECTOR_GP, VECTOR_UD);
	take_exit(.kind = VMEXIT_EXCEPTION,
		  .vectoring = { .type = GUEST_EVENT_EXCEPTION, .vector = VECTOR_GP }, /* stale */
		  .exception = { .vector = VECTOR_GP, .has_error_code = true });
	EXPECT(delivers(VECTOR_GP, 0));
	tear_down();
}

/* --- interrupted deliveries --------------------------------------------------------------- */

static void interrupt_delivery(struct guest_event event)
{
	take_exit(.kind = VMEXIT_HOST_INTERRUPT, .can_interrupt = true, .has_vectoring = true,
		  .vectoring = event);
}

TEST(machine_inject, an_interrupted_delivery_is_repeated)
{
	scene(true);
	interrupt_delivery((struct guest_event){ .type = GUEST_EVENT_INTERRUPT, .vector = 0x33 });
	EXPECT(delivers_interrupt(0x33) && delivers_nothing());
	interrupt_delivery((struct guest_event){ .type = GUEST_EVENT_NMI, .vector = 2 });
	EXPECT(delivers_nmi() && delivers_nothing());
	interrupt_delivery((struct guest_event){ .type = GUEST_EVENT_EXCEPTION, .vector = 3 });
	EXPECT(delivers(VECTOR_BP, NO_CODE) && delivers_nothing());
	interrupt_delivery((struct guest_event){ .type = GUEST_EVENT_EXCEPTION,
						 .vector = 14,
						 .has_error_code = true,
						 .error_code = 6 });
	EXPECT(delivers(VECTOR_PF, 6) && delivers_nothing());
	tear_down();
}

/* RIP still points to the instruction. */
TEST(machine_inject, int_instructions_are_executed_again)
{
	scene(true);
	interrupt_delivery((struct guest_event){
		.type = GUEST_EVENT_SOFT_INTERRUPT, .vector = 0x80, .insn_length = 2 });
	EXPECT(delivers_nothing());
	interrupt_delivery((struct guest_event){
		.type = GUEST_EVENT_SOFT_EXCEPTION, .vector = 3, .insn_length = 1 });
	EXPECT(delivers_nothing());
	tear_down();
}

TEST(machine_inject, a_repeated_delivery_comes_before_what_arrived_meanwhile)
{
	scene(true);
	interrupt_delivery((struct guest_event){ .type = GUEST_EVENT_INTERRUPT, .vector = 0x33 });
	nmi_raise(cpu);
	interrupt_raise(cpu, VECTOR);
	EXPECT(delivers_interrupt(0x33));
	EXPECT(delivers_nmi() && cpu->virt->window);
	take_exit(.kind = VMEXIT_INTERRUPT_WINDOW, .can_interrupt = true);
	EXPECT(delivers_interrupt(VECTOR));
	tear_down();
}

/* --- page faults -------------------------------------------------------------------------- */

TEST(machine_inject, a_page_fault_changes_cr2_alone)
{
	scene(false);
	struct guest_state before = cpu->virt->state;
	take_exit(.kind = VMEXIT_EXCEPTION, .exception = { .vector = VECTOR_PF,
							   .has_error_code = true,
							   .error_code = 2,
							   .address = 0x1234567890 });
	EXPECT(raises_page_fault(0x1234567890, 2));
	before.cr2 = 0x1234567890;
	EXPECT(memcmp(&before, &cpu->virt->state, sizeof(before)) == 0);
	tear_down();
}

/* --- HLT ---------------------------------------------------------------------------------- */

static void halt(bool can_interrupt)
{
	cpu->regs.rip = CODE_AT;
	cpu->regs.rflags = RFLAGS_FIXED | (can_interrupt ? RFLAGS_IF : 0);
	take_exit(.kind = VMEXIT_HLT, .insn_length = 1);
	EXPECT(cpu->requests & VCPU_REQUEST_SLEEP);
	serve(cpu);
	EXPECT(cpu->activity == VCPU_HALTED);
}

TEST(machine_inject, an_interrupt_ends_hlt)
{
	scene(true);
	halt(true);
	EXPECT(!vcpu_is_awake(cpu) && !vcpu_is_awake(cpu));
	interrupt_raise(cpu, VECTOR);
	EXPECT(vcpu_is_awake(cpu) && cpu->activity == VCPU_RUNNABLE);
	EXPECT(cpu->regs.rip == CODE_AT + 1 && delivers_interrupt(VECTOR));
	EXPECT(vcpu_is_awake(cpu));
	tear_down();
}

TEST(machine_inject, an_interrupt_before_hlt_ends_it_at_once)
{
	scene(false);
	interrupt_raise(cpu, VECTOR);
	EXPECT(delivers_nothing());
	halt(true); /* STI; HLT: the shadow ends with it */
	EXPECT(vcpu_is_awake(cpu) && delivers_interrupt(VECTOR));
	tear_down();
}

TEST(machine_inject, without_if_only_an_nmi_ends_hlt)
{
	scene(true);
	halt(false);
	interrupt_raise(cpu, VECTOR);
	EXPECT(!vcpu_is_awake(cpu));
	nmi_raise(cpu);
	EXPECT(vcpu_is_awake(cpu) && delivers_nmi());
	tear_down();
}

TEST(machine_inject, a_blocked_nmi_does_not_end_hlt)
{
	scene(true);
	cpu->virt->state.nmi_blocked = true;
	halt(true);
	nmi_raise(cpu);
	EXPECT(!vcpu_is_awake(cpu));
	interrupt_raise(cpu, VECTOR);
	EXPECT(vcpu_is_awake(cpu) && delivers_interrupt(VECTOR));
	cpu->virt->state.nmi_blocked = false;
	EXPECT(delivers_nmi());
	tear_down();
}

TEST(machine_inject, a_single_step_ends_hlt)
{
	scene(true);
	cpu->regs.rflags |= RFLAGS_TF;
	take_exit(.kind = VMEXIT_HLT, .insn_length = 1);
	EXPECT(vcpu_is_awake(cpu) && delivers(VECTOR_DB, NO_CODE));
	tear_down();
}

/* An interrupt waits, and the guest is behind STI. */
static void in_the_shadow(void)
{
	scene(false);
	interrupt_raise(cpu, VECTOR);
	EXPECT(delivers_nothing() && cpu->virt->window);
	guest_code("\xf4\xf4");
	cpu->regs.rflags = RFLAGS_FIXED | RFLAGS_IF;
}

static void window_opens(bool can_interrupt)
{
	take_exit(.kind = VMEXIT_INTERRUPT_WINDOW, .can_interrupt = can_interrupt);
}

TEST(machine_inject, an_interrupt_in_the_shadow_comes_after_hlt)
{
	in_the_shadow();
	window_opens(false);
	EXPECT(cpu->regs.rip == CODE_AT + 1 && cpu->activity == VCPU_RUNNABLE);
	EXPECT(delivers_interrupt(VECTOR) && delivers_nothing());
	tear_down();
}

TEST(machine_inject, where_the_guest_halted_before_the_shadow_may_be_forgotten)
{
	in_the_shadow();
	window_opens(true);
	EXPECT(cpu->regs.rip == CODE_AT && delivers_interrupt(VECTOR));
	lapic_set(cpu, 0xb0, 0);
	halt(true);
	interrupt_raise(cpu, VECTOR);
	EXPECT(vcpu_is_awake(cpu) && delivers_interrupt(VECTOR));
	lapic_set(cpu, 0xb0, 0);

	cpu->regs.rip = CODE_AT;
	leave_with(true);
	EXPECT(delivers_nothing() && cpu->regs.rip == CODE_AT);
	interrupt_raise(cpu, VECTOR);
	EXPECT(delivers_interrupt(VECTOR) && cpu->regs.rip == CODE_AT + 1);
	tear_down();
}

static void expect_not_stepped(void)
{
	window_opens(false);
	EXPECT(cpu->regs.rip == CODE_AT);
	tear_down();
}

TEST(machine_inject, the_cpu_executes_any_other_instruction_in_the_shadow)
{
	in_the_shadow();
	guest_code("\x90\xf4");
	expect_not_stepped();
	in_the_shadow();
	cpu->regs.rflags = RFLAGS_FIXED; /* CLI; HLT */
	expect_not_stepped();
	in_the_shadow();
	cpu->regs.rflags |= RFLAGS_TF;
	expect_not_stepped();
	in_the_shadow();
	cpu->virt->state.dr7 = 0x401;
	expect_not_stepped();
	in_the_shadow();
	cpu->virt->state.cpl = 3;
	expect_not_stepped();
	in_the_shadow();
	inject_exception(cpu, VECTOR_UD);
	vcpu_requests_serve(cpu, VCPU_REQUEST_EVENT);
	EXPECT(cpu->regs.rip == CODE_AT && delivers(VECTOR_UD, NO_CODE));
	tear_down();
	in_the_shadow();
	cpu->regs.rip = 1ull << 40; /* no page is there */
	window_opens(false);
	EXPECT(cpu->regs.rip == 1ull << 40);
	tear_down();
	/* No interrupt waits any more: the guest raised its task priority. */
	in_the_shadow();
	lapic_set(cpu, TPR, 0xff);
	guest_code("\xf4");
	expect_not_stepped();
}

TEST(machine_inject, a_start_up_ipi_does_not_end_hlt)
{
	scene(true);
	halt(true);
	vcpu_start_up(cpu, VCPU_REQUEST_START_UP);
	EXPECT(!vcpu_is_awake(cpu) && cpu->regs.rip == CODE_AT + 1);
	tear_down();
}

/* --- CR8 ---------------------------------------------------------------------------------- */

static uint64_t wanted_cr8;

static void guest_sets_cr8(struct virt_vcpu *virt)
{
	virt->regs->cr8 = wanted_cr8;
}

/* The guest writes CR8, which causes no exit, and leaves later for another reason. */
static void guest_cr8(uint64_t value)
{
	wanted_cr8 = value;
	guest_code_hook = guest_sets_cr8;
	take_exit(.kind = VMEXIT_HOST_INTERRUPT, .can_interrupt = true);
	guest_code_hook = NULL;
}

TEST(machine_inject, cr8_is_the_apics_task_priority)
{
	scene(true);
	for (uint64_t value = 0; value < 16; value++) {
		guest_cr8(value);
		EXPECT(lapic_get(cpu, TPR) >> 4 == value && cpu->regs.cr8 == value);
		lapic_set(cpu, TPR, (uint32_t)(15 - value) << 4 | 7);
		EXPECT(cpu->regs.cr8 == 15 - value);
	}
	tear_down();
}

TEST(machine_inject, cr8_holds_interrupts_back)
{
	scene(true);
	guest_cr8(4);
	interrupt_raise(cpu, 0x4f);
	EXPECT(delivers_nothing() && !cpu->virt->window);
	interrupt_raise(cpu, 0x50);
	EXPECT(delivers_interrupt(0x50));
	lapic_set(cpu, 0xb0, 0);
	guest_cr8(3);
	EXPECT(delivers_interrupt(0x4f));
	tear_down();
}

/* --- waking ------------------------------------------------------------------------------- */

TEST(machine_inject, a_vcpu_is_woken_by_others_alone)
{
	set_up(2);
	lapics_enable();
	struct vcpu *other = machine.vcpus[1];
	serve(cpu);
	serve(other);
	unsigned own = cpu->thread->unparks, others = other->thread->unparks;
	/* One IPI to itself, one to the other vCPU. */
	lapic_set(cpu, 0x300, 0x40000 | VECTOR);
	EXPECT(cpu->requests == 0 && cpu->thread->unparks == own && cpu->injection_is_due);
	lapic_set(cpu, 0x310, 1u << 24);
	lapic_set(cpu, 0x300, VECTOR);
	EXPECT(other->requests == VCPU_REQUEST_EVENT && other->thread->unparks == others + 1);
	other->injection_is_due = false;
	serve(other);
	EXPECT(other->injection_is_due && other->requests == 0);
	tear_down();
}

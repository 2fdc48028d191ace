/* SPDX-License-Identifier: MIT */
/* A vCPU: power-on, INIT and start-up IPIs, skipped instructions, wishes, its run, its requests. */
#include "machine_fixture.h"

#include "vm/machine/msr_policy.h"

#define RAM 0x30000ull

/* --- power-on ----------------------------------------------------------------------------- */

static bool is_after_reset(const struct vcpu *vcpu)
{
	const struct guest_regs regs = { .gpr[GPR_RDX] = CPUID_SIGNATURE,
					 .rip = 0xfff0,
					 .rflags = 2 };
	return memcmp(&vcpu->regs, &regs, sizeof(regs)) == 0 &&
	       memcmp(&vcpu->virt->state, &x86_reset_state, sizeof(x86_reset_state)) == 0;
}

TEST(machine_vcpu, the_first_vcpu_runs_after_power_on)
{
	set_up(3);
	for (unsigned i = 0; i < 3; i++) {
		struct vcpu *vcpu = machine.vcpus[i];
		EXPECT(vcpu->index == i && vcpu->machine == &machine && is_after_reset(vcpu));
		EXPECT(vcpu->virt->root.raw == pgm_slat_root(machine.pgm).raw);
		EXPECT(vcpu->virt->tsc_offset == -machine.start_tsc && machine.start_tsc > 0);
		EXPECT(vcpu->activity == (i == 0 ? VCPU_RUNNABLE : VCPU_WAITS_START_UP));
		EXPECT(vcpu_is_awake(vcpu) == (i == 0));
	}
	tear_down();
}

/* Changes every field that a run may change. */
static void wear_out(struct vcpu *vcpu)
{
	memset(&vcpu->regs, 0x5a, sizeof(vcpu->regs));
	memset(&vcpu->virt->state, 0x5a, sizeof(vcpu->virt->state));
	memset(&vcpu->lengths, 0x5a, sizeof(vcpu->lengths));
	memset(vcpu->lazy.area, 0x5a, lazy_area_size());
	fake.percpu.lazy_owner = &vcpu->lazy;
	vcpu->lazy.xcr0 = 7;
	vcpu->queued = (struct guest_event){ .type = GUEST_EVENT_NMI, .vector = VECTOR_NMI };
	vcpu->nmi_pending = vcpu->can_interrupt = vcpu->window_is_set = true;
	vcpu->virt->window = true;
	vcpu->injection_is_due = false;
	vcpu->tsc_adjust = 12345;
	vcpu->mtrr_default = 6;
	vcpu->system_time_msr = vcpu->wall_clock_msr = 0x1001;
	vcpu->slat_generation = 0;
	vcpu->cr8 = 7;
	vcpu->devices_seen = 99;
}

static bool core_is_fresh(const struct vcpu *vcpu)
{
	return is_after_reset(vcpu) && vcpu->queued.type == GUEST_EVENT_NONE &&
	       !vcpu->nmi_pending && !vcpu->can_interrupt && !vcpu->window_is_set &&
	       !vcpu->virt->window && vcpu->injection_is_due && vcpu->cr8 == 0 &&
	       vcpu->slat_generation == pgm_slat_generation(machine.pgm);
}

TEST(machine_vcpu, power_on_leaves_nothing_of_the_run_before)
{
	set_up(1);
	unsigned flushes = cpu->virt->flushes;
	wear_out(cpu);
	vcpu_power_on(cpu);
	EXPECT(core_is_fresh(cpu) && cpu->virt->flushes == flushes + 1);
	EXPECT(cpu->virt->tsc_offset == -machine.start_tsc);
	EXPECT(cpu->tsc_adjust == 0 && cpu->mtrr_default == MSR_MTRR_DEFAULT_RESET);
	EXPECT(cpu->system_time_msr == 0 && cpu->wall_clock_msr == 0 && cpu->devices_seen == 0);
	EXPECT(cpu->lazy.xcr0 == 1 && fake.percpu.lazy_owner == NULL);
	EXPECT(((uint8_t *)cpu->lazy.area)[100] == 0x11); /* as lazy_init() left it */
	for (unsigned i = 0; i < INSN_LENGTH_COUNT; i++)
		EXPECT(cpu->lengths.entries[i].epoch == 0);
	tear_down();
}

/* INIT resets the core registers, not clocks, MTRRs and vector registers. */
TEST(machine_vcpu, init_keeps_what_is_not_of_the_core)
{
	set_up(2);
	struct vcpu *other = machine.vcpus[1];
	wear_out(other);
	other->activity = VCPU_RUNNABLE;
	other->requests = 0;
	vcpu_start_up(other, VCPU_REQUEST_INIT);
	EXPECT(core_is_fresh(other) && other->activity == VCPU_WAITS_START_UP);
	EXPECT(other->requests & VCPU_REQUEST_SLEEP);
	EXPECT(other->tsc_adjust == 12345 && other->mtrr_default == 6);
	EXPECT(other->virt->tsc_offset == 12345 - machine.start_tsc);
	EXPECT(other->system_time_msr == 0x1001 && other->wall_clock_msr == 0x1001);
	EXPECT(other->lazy.xcr0 == 7 && fake.percpu.lazy_owner == &other->lazy);
	fake.percpu.lazy_owner = NULL;
	tear_down();
}

/* --- start-up IPIs ------------------------------------------------------------------------ */

static bool started_at(const struct vcpu *vcpu, uint64_t address)
{
	const struct guest_segment *cs = &vcpu->virt->state.segment[SEG_CS];
	return vcpu->activity == VCPU_RUNNABLE && vcpu->regs.rip == 0 && cs->base == address &&
	       cs->selector == address >> 4 && cs->limit == 0xffff;
}

static void ipi(unsigned mode, unsigned vector)
{
	lapic_set(cpu, 0x310, 1u << 24);
	lapic_set(cpu, 0x300, 0x4000 | mode << 8 | vector);
}

#define INIT     5
#define START_UP 6

TEST(machine_vcpu, init_and_start_up_bring_a_vcpu_up)
{
	set_up(2);
	lapics_enable();
	struct vcpu *other = machine.vcpus[1];
	serve(other);
	unsigned unparks = other->thread->unparks;
	ipi(INIT, 0);
	EXPECT(other->requests & VCPU_REQUEST_INIT && other->thread->unparks > unparks);
	serve(other);
	EXPECT(other->activity == VCPU_WAITS_START_UP);
	ipi(START_UP, 0x9a);
	EXPECT(other->requests & VCPU_REQUEST_START_UP);
	EXPECT(!(other->requests & VCPU_REQUEST_INIT));
	serve(other);
	EXPECT(started_at(other, 0x9a000));
	/* Kernels send a second start-up IPI, which changes nothing. */
	other->regs.rip = 0x77;
	ipi(START_UP, 0x10);
	serve(other);
	EXPECT(other->regs.rip == 0x77 && other->virt->state.segment[SEG_CS].base == 0x9a000);
	tear_down();
}

TEST(machine_vcpu, both_may_come_before_the_vcpu_looks)
{
	set_up(2);
	lapics_enable();
	struct vcpu *other = machine.vcpus[1];
	ipi(INIT, 0);
	ipi(START_UP, 0x9a);
	serve(other);
	EXPECT(started_at(other, 0x9a000));
	/* An INIT voids an earlier start-up IPI. */
	ipi(START_UP, 0x9b);
	ipi(INIT, 0);
	serve(other);
	EXPECT(other->activity == VCPU_WAITS_START_UP);
	ipi(START_UP, 0xff);
	serve(other);
	EXPECT(started_at(other, 0xff000));
	tear_down();
}

TEST(machine_vcpu, the_start_page_is_below_1_mib)
{
	set_up(2);
	struct vcpu *other = machine.vcpus[1];
	other->start_up_entry = 0xfff12345;
	vcpu_start_up(other, VCPU_REQUEST_START_UP);
	EXPECT(started_at(other, 0x12000));
	tear_down();
}

TEST(machine_vcpu, only_a_vcpu_that_waits_starts_up)
{
	set_up(1);
	enum vcpu_activity busy[] = { VCPU_RUNNABLE, VCPU_HALTED };
	for (unsigned i = 0; i < ARRAY_COUNT(busy); i++) {
		cpu->activity = busy[i];
		vcpu_start_up(cpu, VCPU_REQUEST_START_UP);
		EXPECT(cpu->activity == busy[i] && cpu->regs.rip == 0xfff0);
	}
	cpu->activity = VCPU_WAITS_START_UP;
	vcpu_start_up(cpu, 0);
	EXPECT(cpu->activity == VCPU_WAITS_START_UP);
	cpu->virt->refuses_state = true;
	vcpu_start_up(cpu, VCPU_REQUEST_START_UP);
	EXPECT(cpu->activity == VCPU_WAITS_START_UP);
	tear_down();
}

TEST(machine_vcpu, nothing_else_wakes_a_vcpu_that_waits)
{
	set_up(2);
	lapics_enable();
	struct vcpu *other = machine.vcpus[1];
	other->regs.rflags |= RFLAGS_IF;
	interrupt_raise(other, 0x40);
	nmi_raise(other);
	serve(other);
	EXPECT(!vcpu_is_awake(other));
	tear_down();
}

/* --- skipped instructions ----------------------------------------------------------------- */

#define DR6_BS 0x4000ull

TEST(machine_vcpu, a_single_step_ends_behind_the_instruction)
{
	set_up_64();
	cpu->regs.rflags |= RFLAGS_TF;
	take_exit(.kind = VMEXIT_WBINVD, .insn_length = 2);
	EXPECT(cpu->regs.rip == CODE_AT + 2 && delivers(VECTOR_DB, NO_CODE));
	EXPECT(cpu->virt->state.dr6 == (RESET_DR6 | DR6_BS));
	/* An instruction that faults raises no single step. */
	take_exit(.kind = VMEXIT_INVALID_OPCODE);
	EXPECT(delivers(VECTOR_UD, NO_CODE));
	cpu->virt->refuses_state = true;
	take_exit(.kind = VMEXIT_WBINVD, .insn_length = 2);
	EXPECT(is_done(2));
	tear_down();
}

static uint64_t rip_after(uint64_t rip)
{
	cpu->regs.rip = rip;
	take_exit(.kind = VMEXIT_WBINVD, .insn_length = 2);
	return cpu->regs.rip;
}

TEST(machine_vcpu, eip_wraps_outside_64_bit_mode)
{
	struct guest_state *guest;
	set_up_64();
	guest = &cpu->virt->state;
	EXPECT(rip_after(0xffffffff) == 0x100000001 && rip_after(0xffffffffffffffff) == 1);
	/* 32-bit code in long mode. */
	guest->segment[SEG_CS].attributes = RESET_CODE | SEG_ATTR_DB;
	EXPECT(rip_after(0xffffffff) == 1 && rip_after(0xfffffffe) == 0);
	EXPECT(rip_after(0xfffffffd) == 0xffffffff);
	/* CS.L does not count outside long mode. */
	guest->segment[SEG_CS].attributes = RESET_CODE | SEG_ATTR_L;
	guest->efer = EFER_LME;
	EXPECT(rip_after(0xffffffff) == 1 && delivers(0, NO_CODE) == false);
	cpu->regs.rflags |= RFLAGS_TF;
	EXPECT(rip_after(0xffffffff) == 1 && delivers(VECTOR_DB, NO_CODE));
	EXPECT(rip_after(0xfffffff0) == 0xfffffff2 && delivers(VECTOR_DB, NO_CODE));
	tear_down();
}

TEST(machine_vcpu, a_skipped_instruction_ends_the_shadow)
{
	set_up_64();
	cpu->regs.rflags |= RFLAGS_IF;
	take_exit(.kind = VMEXIT_WBINVD, .insn_length = 2);
	EXPECT(cpu->can_interrupt && cpu->virt->skips == 1);
	cpu->regs.rflags &= ~RFLAGS_IF;
	take_exit(.kind = VMEXIT_WBINVD, .insn_length = 2, .can_interrupt = true);
	EXPECT(!cpu->can_interrupt);
	take_exit(.kind = VMEXIT_HOST_INTERRUPT, .can_interrupt = true);
	EXPECT(cpu->can_interrupt && cpu->virt->skips == 2);
	tear_down();
}

/* --- wishes ------------------------------------------------------------------------------- */

TEST(machine_vcpu, a_wish_for_memory_is_replaced_by_the_next)
{
	set_up(1);
	serve(cpu);
	EXPECT(vcpu_wish_take(cpu).kind == VCPU_WISH_NOTHING);
	vcpu_wish_memory(cpu, 3);
	EXPECT(cpu->requests == VCPU_REQUEST_WISH);
	vcpu_wish_memory(cpu, 2);
	struct vcpu_wish wish = vcpu_wish_take(cpu);
	EXPECT(wish.kind == VCPU_WISH_MEMORY && wish.page_count == 2);
	EXPECT(vcpu_wish_take(cpu).kind == VCPU_WISH_NOTHING);
	tear_down();
}

TEST(machine_vcpu, the_first_wish_to_stop_stays)
{
	set_up(1);
	serve(cpu);
	vcpu_wish_memory(cpu, 3);
	vcpu_wish_stop(cpu, "first");
	EXPECT(cpu->requests == VCPU_REQUEST_WISH);
	vcpu_wish_stop(cpu, "second");
	vcpu_wish_memory(cpu, 4);
	struct vcpu_wish wish = vcpu_wish_take(cpu);
	EXPECT(wish.kind == VCPU_WISH_STOP && strcmp(wish.reason, "first") == 0);
	tear_down();
}

/* --- the run ------------------------------------------------------------------------------ */

static const struct vmexit quiet = { .kind = VMEXIT_HOST_INTERRUPT };

TEST(machine_vcpu, runs_until_its_slice_is_over)
{
	set_up_64();
	serve(cpu);
	for (unsigned i = 0; i < 10; i++)
		exit_queue(&quiet);
	run(cpu);
	EXPECT(cpu->virt->runs == 10 && exits_left() == 0 && !fake.irqs_are_off);
	EXPECT(cpu->figures[VMEXIT_HOST_INTERRUPT].count == 10);
	tear_down();
}

TEST(machine_vcpu, a_request_comes_before_the_entry)
{
	set_up_64();
	for (unsigned bit = 0; bit <= 11; bit++) {
		serve(cpu);
		vcpu_request(cpu, BIT32(bit));
		exit_queue(&quiet);
		run(cpu);
		EXPECT(cpu->virt->runs == 0 && exits_left() == 1 && !fake.irqs_are_off);
	}
	serve(cpu);
	tear_down();
}

TEST(machine_vcpu, a_handlers_request_ends_the_run)
{
	const struct vmexit stop = { .kind = VMEXIT_SHUTDOWN };
	set_up_64();
	serve(cpu);
	exit_queue(&quiet);
	exit_queue(&stop);
	exit_queue(&quiet);
	run(cpu);
	EXPECT(cpu->virt->runs == 2 && exits_left() == 1);
	EXPECT(vcpu_wish_take(cpu).kind == VCPU_WISH_STOP);
	tear_down();
}

static void interrupt_handler_asks(struct virt_vcpu *virt)
{
	(void)virt;
	vcpu_request(cpu, VCPU_REQUEST_TIMER);
}

TEST(machine_vcpu, an_interrupt_handlers_request_ends_the_run)
{
	set_up_64();
	serve(cpu);
	guest_code_hook = interrupt_handler_asks;
	exit_queue(&quiet);
	exit_queue(&quiet);
	run(cpu);
	EXPECT(cpu->virt->runs == 1 && exits_left() == 1);
	guest_code_hook = NULL;
	tear_down();
}

TEST(machine_vcpu, flushes_once_when_the_nested_tables_moved)
{
	set_up(2);
	struct vcpu *other = machine.vcpus[1];
	other->activity = VCPU_RUNNABLE;
	take_exit_of(cpu, quiet);
	take_exit_of(other, quiet);
	unsigned flushes = cpu->virt->flushes, others = other->virt->flushes;
	/* The read maps the zero page; the write replaces that mapping. */
	take_memory_exit(RAM, MEM_READ);
	take_exit_of(cpu, quiet);
	EXPECT(cpu->virt->flushes == flushes);
	take_memory_exit(RAM, MEM_WRITE);
	EXPECT(cpu->virt->flushes == flushes);
	take_exit_of(cpu, quiet);
	take_exit_of(cpu, quiet);
	EXPECT(cpu->virt->flushes == flushes + 1 && other->virt->flushes == others);
	take_exit_of(other, quiet);
	take_exit_of(other, quiet);
	EXPECT(cpu->virt->flushes == flushes + 1 && other->virt->flushes == others + 1);
	tear_down();
}

TEST(machine_vcpu, the_vector_registers_are_the_vcpus_that_runs)
{
	set_up(2);
	struct vcpu *other = machine.vcpus[1];
	take_exit_of(cpu, quiet);
	take_exit_of(cpu, quiet);
	EXPECT(fake.lazy_switches == 1);
	take_exit_of(other, quiet);
	EXPECT(fake.lazy_switches == 2 && fake.percpu.lazy_owner == &other->lazy);
	take_exit_of(cpu, quiet);
	EXPECT(fake.lazy_switches == 3);
	tear_down();
}

/* --- requests ----------------------------------------------------------------------------- */

TEST(machine_vcpu, a_request_wakes_the_thread)
{
	set_up(1);
	serve(cpu);
	unsigned unparks = cpu->thread->unparks;
	vcpu_request(cpu, VCPU_REQUEST_EVENT);
	vcpu_request(cpu, VCPU_REQUEST_HOLD);
	EXPECT(cpu->requests == (VCPU_REQUEST_EVENT | VCPU_REQUEST_HOLD));
	EXPECT(cpu->thread->unparks == unparks + 2);
	vcpu_request_self(cpu, VCPU_REQUEST_POWER);
	EXPECT(cpu->requests & VCPU_REQUEST_POWER && cpu->thread->unparks == unparks + 2);
	/* A vCPU that is being created has no thread yet. */
	struct vcpu unborn = { .requests = VCPU_REQUEST_HOLD };
	vcpu_request(&unborn, VCPU_REQUEST_EVENT);
	EXPECT(unborn.requests == (VCPU_REQUEST_EVENT | VCPU_REQUEST_HOLD));
	tear_down();
}

TEST(machine_vcpu, each_request_is_served)
{
	set_up(1);
	fake.self = cpu->thread;
	cpu->injection_is_due = false;
	vcpu_requests_serve(cpu, VCPU_REQUEST_HOLD | VCPU_REQUEST_END | VCPU_REQUEST_POWER |
					 VCPU_REQUEST_SLEEP | VCPU_REQUEST_SERVE |
					 VCPU_REQUEST_WISH);
	EXPECT(!cpu->injection_is_due && is_after_reset(cpu) && cpu->virt->resets == 2);
	vcpu_requests_serve(cpu, VCPU_REQUEST_EVENT);
	EXPECT(cpu->injection_is_due && cpu->virt->resets == 2);
	vcpu_requests_serve(cpu, VCPU_REQUEST_RESET);
	EXPECT(cpu->virt->resets == 3 && cpu->activity == VCPU_RUNNABLE);
	vcpu_requests_serve(cpu, VCPU_REQUEST_INIT);
	EXPECT(cpu->virt->resets == 4 && cpu->activity == VCPU_WAITS_START_UP);
	cpu->start_up_entry = 0x8000;
	vcpu_requests_serve(cpu, VCPU_REQUEST_START_UP);
	EXPECT(started_at(cpu, 0x8000));
	/* The reset is served before an IPI of the new run. */
	vcpu_requests_serve(cpu, VCPU_REQUEST_RESET | VCPU_REQUEST_INIT);
	EXPECT(cpu->virt->resets == 6 && cpu->activity == VCPU_WAITS_START_UP);
	tear_down();
}

TEST(machine_vcpu, a_refill_that_gets_nothing_is_no_harm)
{
	struct pgm_stats stats;
	set_up(1);
	memory_exhaust(3);
	vcpu_requests_serve(cpu, VCPU_REQUEST_REFILL);
	pgm_stats(machine.pgm, &stats);
	EXPECT(stats.handy == 3 && cpu->wish.kind == VCPU_WISH_NOTHING);
	memory_release();
	pgm_stats(machine.pgm, &stats);
	uint64_t handy = stats.handy;
	take_memory_exit(RAM, MEM_WRITE);
	vcpu_requests_serve(cpu, VCPU_REQUEST_REFILL);
	pgm_stats(machine.pgm, &stats);
	EXPECT(stats.handy == handy);
	tear_down();
}

/* SPDX-License-Identifier: MIT */
/* The machine as a whole: creation and its failures, power, the devices' timer, their requests. */
#include "machine_fixture.h"

#include <stdio.h>

#include "devices/pc/vpc_internal.h"
#include "mm/pgm/pgm_internal.h"
#include "vm/machine/cpuid_policy.h"

#define RAM       0x30000ull
#define BIOS_AREA 0xc0000ull

/* --- creation ----------------------------------------------------------------------------- */

static q_status_t create(const struct machine_config *config)
{
	memset(&machine, 0, sizeof(machine));
	return machine_init(&machine, config, &fake_ops);
}

static bool is_same(struct census a, struct census b)
{
	return a.blocks == b.blocks && a.vms == b.vms && a.private_pages == b.private_pages &&
	       a.kernel_pages == b.kernel_pages && a.reserved_pages == b.reserved_pages;
}

/* Creation fails and leaves nothing. */
static void expect_failure(const struct machine_config *config, q_status_t status)
{
	struct census before = census_take();
	EXPECT(create(config) == status);
	gmm_check();
	EXPECT(is_same(before, census_take()) && fake.timer == NULL);
}

TEST(machine_life, without_memory_nothing_is_left)
{
	host_set_up();
	struct machine_config config = machine_config_of(3);
	unsigned count = 1;
	/* GMM keeps KERNEL chunks, so only a later creation takes as many pages as it gives back. */
	EXPECT(create(&config) == Q_OK);
	machine_fini(&machine);
	for (;; count++) {
		struct census before = census_take();
		fake_heap_fail_at(count);
		q_status_t status = create(&config);
		fake_heap_fail_at(0);
		if (status == Q_OK)
			break;
		EXPECT(status == Q_NO_MEMORY);
		gmm_check();
		EXPECT(is_same(before, census_take()));
	}
	/* Serial port, BIOS area, CPUID; each vCPU's own four; devices. Then nothing fails. */
	EXPECT(count == 3 + 3 * 4 + 1 + 1);
	tear_down();
}

TEST(machine_life, without_kernel_memory_nothing_is_left)
{
	struct machine_config config = machine_config_of(2);
	for (unsigned count = 1;; count++) {
		host_set_up();
		fake_kernel_map_fail_at(count);
		q_status_t status = create(&config);
		fake_kernel_map_fail_at(0);
		gmm_check();
		if (status == Q_OK) {
			EXPECT(count > 1);
			break;
		}
		EXPECT(status == Q_NO_MEMORY);
		struct census left = census_take();
		EXPECT(left.blocks == 0 && left.vms == 0 && left.private_pages == 0);
	}
	tear_down();
}

TEST(machine_life, what_the_memory_manager_refuses_is_refused)
{
	host_set_up();
	struct machine_config config = machine_config_of(1);
	config.memory.guaranteed_bytes = GUEST_BYTES;
	expect_failure(&config, Q_DECLINED);
	config.memory.guaranteed_bytes = GUEST_BYTES + PAGE_SIZE;
	expect_failure(&config, Q_RANGE);
	/* Another VM has all memory, so GMM cannot promise what a machine needs at least. */
	struct gmm_vm_config all = { .pages = { 1u << 20, 0, 0 },
				     .overcommit = GMM_OVERCOMMIT_FULL };
	struct gmm_page page;
	gmm_vm_t hog;
	EXPECT(gmm_vm_create(&all, &hog) == Q_OK);
	while (gmm_pages_alloc(hog, &page, 1) == Q_OK)
		;
	config.memory.guaranteed_bytes = 0;
	expect_failure(&config, Q_DECLINED);
	fake_ram_destroy();
}

TEST(machine_life, creation_builds_what_the_configuration_says)
{
	host_set_up();
	struct machine_config config = machine_config_of(MACHINE_VCPU_MAX);
	config.name = "a-name-of-31-characters-xxxxxxx";
	config.has_debug_exit = false;
	EXPECT(create(&config) == Q_OK);
	EXPECT(machine.vcpu_count == 32 && machine.memory_bytes == GUEST_BYTES && machine.is_fresh);
	EXPECT(!machine.has_debug_exit && machine.has_debug_console && machine.ops == &fake_ops);
	for (unsigned i = 0; i < 32; i++) {
		const struct vcpu *vcpu = machine.vcpus[i];
		char name[48];
		snprintf(name, sizeof(name), "a-name-of-31-characters-xxxxxxx.%u", i);
		EXPECT(strcmp(vcpu->thread->name, name) == 0);
		EXPECT(vcpu->thread->body == config.vcpu_run && vcpu->thread->argument == vcpu);
		/* The vCPU is held from its birth. */
		EXPECT(vcpu->index == i && (vcpu->requests & VCPU_REQUEST_HOLD));
	}
	EXPECT(machine.cpuid->xcr0 == 0xe7 && machine.cpuid->topology[1].ebx == 32);
	EXPECT((machine.cpuid->extended[8].regs.eax & 0xff) == PGM_GPA_BITS);
	vcpu_destroy(NULL);
	tear_down();
}

static bool notes_dirty(void)
{
	return true;
}

TEST(machine_life, memory_is_as_the_cpu_walks_it)
{
	struct virt_ops ept_ops = fake_ops;
	struct machine_config config = machine_config_of(1);
	host_set_up();
	EXPECT(create(&config) == Q_OK);
	EXPECT(machine.pgm->slat.format == &slat_npt && !pgm_has_dirty_bits(machine.pgm));
	EXPECT(!machine.pgm->works_ahead);
	machine_fini(&machine);
	ept_ops.slat_kind = SLAT_EPT;
	ept_ops.slat_notes_dirty = notes_dirty;
	fake_options.works_ahead = true;
	memset(&machine, 0, sizeof(machine));
	EXPECT(machine_init(&machine, &config, &ept_ops) == Q_OK);
	EXPECT(machine.pgm->slat.format == &slat_ept && pgm_has_dirty_bits(machine.pgm));
	EXPECT(machine.pgm->works_ahead);
	tear_down();
}

TEST(machine_life, the_bios_area_has_acpi_tables_and_zeros)
{
	set_up(1);
	EXPECT(guest_number(VPC_ACPI_START, 8) == 0x2052545020445352); /* "RSD PTR " */
	EXPECT(guest_is_all(BIOS_AREA, 0, 256) && guest_is_all(0xfff00, 0, 256));
	for (uint64_t at = BIOS_AREA; at < 0x100000; at += PAGE_SIZE) {
		struct pgm_fault fault = { .addr = gpa(at), .access = MEM_WRITE };
		EXPECT(pgm_fault_handle(machine.pgm, &fault) == PGM_DENIED);
	}
	struct pgm_fault above = { .addr = gpa(0xbf000), .access = MEM_READ };
	EXPECT(pgm_fault_handle(machine.pgm, &above) == PGM_MMIO);
	tear_down();
}

/* --- power -------------------------------------------------------------------------------- */

static void out(uint16_t port, uint8_t size, uint32_t value)
{
	cpu->regs.gpr[GPR_RAX] = value;
	take_exit(.kind = VMEXIT_PIO, .insn_length = 1, .pio = { .port = port, .size = size });
}

static uint32_t in(uint16_t port, uint8_t size)
{
	cpu->regs.gpr[GPR_RAX] = 0;
	take_exit(.kind = VMEXIT_PIO, .insn_length = 1,
		  .pio = { .port = port, .size = size, .is_in = true });
	return (uint32_t)cpu->regs.gpr[GPR_RAX];
}

#define SCRATCH 0x3ffu

TEST(machine_life, a_reset_is_like_the_first_power_on)
{
	set_up(1);
	uint64_t rom = guest_number(VPC_ACPI_START, 8);
	guest_fill(RAM, 0x77, PAGE_SIZE);
	out(SCRATCH, 1, 0x5a);
	lapic_set(cpu, 0x80, 0x30);
	lapic_set(cpu, 0x380, 1u << 31);
	EXPECT(fake.timer == &machine.timer);
	fake.tsc += TSC_HZ;
	uint64_t before = machine.start_tsc;
	machine_power_on(&machine);
	EXPECT(guest_is_all(RAM, 0, PAGE_SIZE) && guest_number(VPC_ACPI_START, 8) == rom);
	EXPECT(in(SCRATCH, 1) == 0 && lapic_get(cpu, 0x80) == 0 && fake.timer == NULL);
	EXPECT(machine.start_tsc == before + TSC_HZ && machine_now(&machine) == 0);
	EXPECT(cpu->regs.rip == 0xfff0 + 1 && cpu->virt->tsc_offset == -machine.start_tsc);
	tear_down();
}

/* Memory that was not touched is not cleared. */
TEST(machine_life, the_first_power_on_finds_memory_as_it_must_be)
{
	host_set_up();
	struct machine_config config = machine_config_of(1);
	EXPECT(create(&config) == Q_OK);
	cpu = machine.vcpus[0];
	guest_put_number(RAM, 0x77, 1);
	machine_power_on(&machine);
	EXPECT(guest_number(RAM, 1) == 0x77 && !machine.is_fresh);
	machine_power_on(&machine);
	EXPECT(guest_number(RAM, 1) == 0);
	tear_down();
}

TEST(machine_life, power_off_gives_memory_and_timer_back)
{
	struct pgm_stats stats;
	set_up(1);
	guest_fill(RAM, 0x77, 4 * PAGE_SIZE);
	lapics_enable();
	lapic_set(cpu, 0x380, 1000000);
	EXPECT(fake.timer == &machine.timer);
	machine_power_off(&machine);
	pgm_stats(machine.pgm, &stats);
	EXPECT(stats.private_pages == 0 && machine.is_fresh && fake.timer == NULL);
	EXPECT(guest_is_all(RAM, 0, 16));
	/* The next power-on does not clear memory again. */
	guest_put_number(RAM, 0x77, 1);
	machine_power_on(&machine);
	EXPECT(guest_number(RAM, 1) == 0x77);
	tear_down();
}

TEST(machine_life, power_on_voids_old_start_up_ipis)
{
	set_up(3);
	for (unsigned i = 0; i < 3; i++) {
		serve(machine.vcpus[i]);
		vcpu_request(machine.vcpus[i],
			     VCPU_REQUEST_INIT | VCPU_REQUEST_START_UP | VCPU_REQUEST_EVENT);
	}
	unsigned unparks = machine.vcpus[2]->thread->unparks;
	fake.self = cpu->thread;
	machine_power_on(&machine);
	EXPECT(cpu->requests == VCPU_REQUEST_EVENT);
	for (unsigned i = 1; i < 3; i++)
		EXPECT(machine.vcpus[i]->requests == (VCPU_REQUEST_EVENT | VCPU_REQUEST_RESET));
	EXPECT(machine.vcpus[2]->thread->unparks > unparks);
	tear_down();
}

/* Seconds, in BCD: 22:13:20 at TSC 0, 5.25 s later at power-on. */
TEST(machine_life, the_real_time_clock_goes_on_from_quires)
{
	set_up(1);
	out(0x70, 1, 0);
	EXPECT(in(0x71, 1) == 0x25);
	fake.tsc += 20 * TSC_HZ;
	EXPECT(in(0x71, 1) == 0x45);
	machine_power_on(&machine);
	out(0x70, 1, 0);
	EXPECT(in(0x71, 1) == 0x45);
	out(0x70, 1, 2);
	EXPECT(in(0x71, 1) == 0x13);
	tear_down();
}

/* --- the timer ---------------------------------------------------------------------------- */

#define LVT_TIMER   0x320u
#define INITIAL     0x380u
#define BUS_TICK    4ull /* TSC ticks: the bus runs at 1 GHz, and is divided by 2 */
#define LVT_PERIODS BIT32(17)

static bool is_armed_for(uint64_t now)
{
	return fake.timer == &machine.timer && fake.timer_deadline == machine.start_tsc + now;
}

TEST(machine_life, the_timer_stands_for_the_earliest_deadline)
{
	set_up(2);
	lapics_enable();
	struct vcpu *other = machine.vcpus[1];
	unsigned arms = fake.timer_arms;
	EXPECT(fake.timer == NULL);
	lapic_set(cpu, INITIAL, 10000);
	EXPECT(is_armed_for(10000 * BUS_TICK) && machine.timer_vcpu == cpu);
	/* A later deadline changes nothing, an earlier one does. */
	lapic_set(other, INITIAL, 20000);
	EXPECT(is_armed_for(10000 * BUS_TICK) && machine.timer_vcpu == cpu);
	EXPECT(fake.timer_arms == arms + 1);
	lapic_set(other, INITIAL, 5000);
	EXPECT(is_armed_for(5000 * BUS_TICK) && machine.timer_vcpu == other);
	/* When the earlier one goes, the timer moves back. */
	lapic_set(other, INITIAL, 0);
	EXPECT(is_armed_for(10000 * BUS_TICK) && machine.timer_vcpu == other);
	lapic_set(cpu, INITIAL, 0);
	EXPECT(fake.timer == NULL);
	tear_down();
}

TEST(machine_life, the_operators_access_arms_it_for_the_first_vcpu)
{
	set_up(2);
	lapics_enable();
	lapic_set(machine.vcpus[1], INITIAL, 10000);
	machine.armed_deadline = VPC_DEADLINE_NONE;
	fake.self = NULL;
	machine_devices_enter(&machine);
	machine_devices_leave(&machine, NULL);
	EXPECT(is_armed_for(10000 * BUS_TICK) && machine.timer_vcpu == cpu);
	tear_down();
}

TEST(machine_life, the_timer_brings_the_devices_up_to_date)
{
	set_up_64();
	lapics_enable();
	lapic_set(cpu, LVT_TIMER, LVT_PERIODS | 0x40);
	lapic_set(cpu, INITIAL, 10000);
	cpu->regs.rflags |= RFLAGS_IF;
	take_exit(.kind = VMEXIT_HOST_INTERRUPT, .can_interrupt = true);
	for (unsigned period = 1; period < 4; period++) {
		EXPECT(is_armed_for(period * 10000 * BUS_TICK));
		fake.tsc = fake.timer_deadline;
		fake.timer->fired(&machine.timer);
		EXPECT(cpu->requests == VCPU_REQUEST_TIMER);
		struct guest_event event = next_event();
		EXPECT(event.type == GUEST_EVENT_INTERRUPT && event.vector == 0x40);
		lapic_set(cpu, 0xb0, 0);
	}
	tear_down();
}

/* A timer that fired is not armed any more, so the same deadline is armed again. */
TEST(machine_life, a_timer_that_was_early_is_armed_again)
{
	set_up(1);
	lapics_enable();
	lapic_set(cpu, INITIAL, 10000);
	unsigned arms = fake.timer_arms;
	machine_devices_timer_fired(&machine.timer);
	serve(cpu);
	EXPECT(fake.timer_arms == arms + 1 && is_armed_for(10000 * BUS_TICK));
	tear_down();
}

/* --- what devices ask of the machine ------------------------------------------------------ */

TEST(machine_life, the_guest_asks_for_power)
{
	enum vpc_power what;
	uint32_t value;
	set_up(2);
	serve(cpu);
	serve(machine.vcpus[1]);
	EXPECT(!machine_power_request_take(&machine, &what, &value));
	out(0x604, 2, 0x3400); /* ACPI: S5 */
	for (unsigned i = 0; i < 2; i++)
		EXPECT(machine.vcpus[i]->requests & VCPU_REQUEST_POWER);
	EXPECT(machine_power_request_take(&machine, &what, &value) && what == VPC_POWER_OFF);
	EXPECT(!machine_power_request_take(&machine, &what, &value));
	out(0xcf9, 1, 6);
	EXPECT(machine_power_request_take(&machine, &what, &value) && what == VPC_POWER_RESET);
	out(0xf4, 4, 0xfedcba98);
	EXPECT(machine_power_request_take(&machine, &what, &value));
	EXPECT(what == VPC_POWER_DEBUG_EXIT && value == 0xfedcba98);
	tear_down();
}

TEST(machine_life, the_last_power_request_counts)
{
	enum vpc_power what;
	uint32_t value;
	set_up(1);
	out(0xf4, 1, 0);
	out(0xf4, 1, 3);
	out(0x604, 2, 0x3400);
	out(0xf4, 1, 7);
	EXPECT(machine_power_request_take(&machine, &what, &value));
	EXPECT(what == VPC_POWER_DEBUG_EXIT && value == 7);
	/* Power-on voids it. */
	out(0xf4, 1, 7);
	machine_power_on(&machine);
	EXPECT(!machine_power_request_take(&machine, &what, &value));
	tear_down();
}

TEST(machine_life, debug_ports_are_there_if_configured)
{
	enum vpc_power what;
	uint32_t value;
	set_up(1);
	machine.has_debug_exit = machine.has_debug_console = false;
	machine_power_on(&machine);
	out(0xf4, 1, 7);
	out(0xe9, 1, 'x');
	EXPECT(!machine_power_request_take(&machine, &what, &value) && fake_com2_text()[0] == 0);
	tear_down();
}

TEST(machine_life, typed_bytes_reach_the_serial_port)
{
	set_up(2);
	out(0x3fa, 1, 1); /* FIFOs on */
	out(0x3fc, 1, 8); /* the interrupt line on */
	out(0x3f9, 1, 1); /* for received bytes */
	uint8_t bytes[20] = "abcdefghijklmnopqrst";
	serve(cpu);
	cpu->injection_is_due = false;
	fake.self = NULL;
	EXPECT(machine_serial_input(&machine, bytes, 20) == 16);
	EXPECT(machine_serial_input(&machine, bytes, 1) == 0);
	for (unsigned i = 0; i < 16; i++)
		EXPECT(in(0x3f8, 1) == bytes[i]);
	EXPECT((in(0x3fd, 1) & 1) == 0);
	tear_down();
}

/* --- figures ------------------------------------------------------------------------------ */

TEST(machine_life, cpu_time_is_that_of_all_vcpus)
{
	set_up(3);
	for (unsigned i = 0; i < 3; i++)
		machine.vcpus[i]->thread->cpu_ticks = 100 << 4 * i;
	EXPECT(machine_cpu_ticks(&machine) == 100 + 1600 + 25600);
	tear_down();
}

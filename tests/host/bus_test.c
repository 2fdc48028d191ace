/* SPDX-License-Identifier: MIT */
/*
 * The bus, with devices of this file. The program links only the bus, without a PC:
 * a device needs nothing but its struct vdev.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#include "devices/bus.h"

#define PROBE_MAX 8u
#define SLOT_MAX  10u
#define NEVER     VDEV_DEADLINE_NONE

/* An access that reached a device. */
struct access {
	unsigned probe;
	bool is_write, is_memory;
	unsigned at, size;
	uint64_t value;
};

/* A device that answers with a pattern of its number and the place, and records accesses. */
struct probe {
	struct vdev dev;
	unsigned number;
	uint64_t period; /* from one firing of the timer to the next; 0: it fires once */
	unsigned reset_count, fired_count;
};

static struct bus bus;
static struct bus_slot slots[SLOT_MAX];
static struct probe probes[PROBE_MAX];
static uint64_t now;
static struct access accesses[16];
static unsigned access_count, order_count, check_count;
static unsigned order[16]; /* numbers of the probes that were reset or fired, in order */

static struct probe *probe_of(const struct vdev *dev)
{
	return container_of(dev, struct probe, dev);
}

static uint64_t answer(unsigned number, unsigned at, unsigned size)
{
	uint64_t all = (number + 1) * 0x0101010101010101ull ^ at * 0x9e3779b97f4a7c15ull;
	return vdev_bytes(all, size);
}

static void note(struct vdev *dev, bool is_write, bool is_memory, unsigned at, unsigned size,
		 uint64_t value)
{
	accesses[access_count++ % ARRAY_COUNT(accesses)] =
		(struct access){ probe_of(dev)->number, is_write, is_memory, at, size, value };
}

static uint32_t on_port_read(struct vdev *dev, uint16_t port, unsigned size, uint64_t time)
{
	EXPECT(time == now);
	note(dev, false, false, port, size, 0);
	return (uint32_t)answer(probe_of(dev)->number, port, size);
}

static void on_port_write(struct vdev *dev, uint16_t port, unsigned size, uint32_t value,
			  uint64_t time)
{
	EXPECT(time == now);
	note(dev, true, false, port, size, value);
}

static uint64_t on_memory_read(struct vdev *dev, unsigned offset, unsigned size, uint64_t time)
{
	EXPECT(time == now);
	note(dev, false, true, offset, size, 0);
	return answer(probe_of(dev)->number, offset, size);
}

static void on_memory_write(struct vdev *dev, unsigned offset, unsigned size, uint64_t value,
			    uint64_t time)
{
	EXPECT(time == now);
	note(dev, true, true, offset, size, value);
}

static void on_reset(struct vdev *dev, uint64_t time)
{
	EXPECT(time == now && bus_timer_deadline(dev) == NEVER);
	probe_of(dev)->reset_count++;
	order[order_count++ % ARRAY_COUNT(order)] = probe_of(dev)->number;
}

static void on_timer(struct vdev *dev, uint64_t time)
{
	struct probe *probe = probe_of(dev);
	EXPECT(time == now && bus_timer_deadline(dev) <= now);
	probe->fired_count++;
	order[order_count++ % ARRAY_COUNT(order)] = probe->number;
	bus_timer_set(dev, probe->period ? now + probe->period : NEVER);
}

static void on_check(const struct vdev *dev)
{
	EXPECT(probe_of(dev) == &probes[probe_of(dev)->number]);
	check_count++;
}

static const struct vdev_ops probe_ops = {
	.name = "probe",
	.reset = on_reset,
	.timer = on_timer,
	.port_read = on_port_read,
	.port_write = on_port_write,
	.memory_read = on_memory_read,
	.memory_write = on_memory_write,
	.check = on_check,
};

static const struct vdev_ops bare_ops = { .name = "bare" };

static void set_up(void)
{
	bus = (struct bus){ 0 };
	now = 1000;
	access_count = order_count = check_count = 0;
	bus_init(&bus, slots, SLOT_MAX);
	for (unsigned i = 0; i < PROBE_MAX; i++) {
		probes[i] = (struct probe){ .number = i };
		bus_add(&bus, &probes[i].dev, &probe_ops);
	}
	bus_check(&bus);
}

static void claim(unsigned number, uint16_t first, unsigned count, enum bus_width width)
{
	bus_ports_claim(&bus, &probes[number].dev, first, count, width);
	bus_check(&bus);
}

static uint32_t in(uint16_t port, unsigned size)
{
	access_count = 0;
	return bus_port_read(&bus, port, size, now);
}

static void out(uint16_t port, unsigned size, uint32_t value)
{
	access_count = 0;
	bus_port_write(&bus, port, size, value, now);
}

/* True if this was access `i` since the last in() or out(). */
static bool was(unsigned i, unsigned number, unsigned at, unsigned size, uint64_t value)
{
	const struct access *access = &accesses[i];
	return i < access_count && access->probe == number && access->at == at &&
	       access->size == size && access->value == value;
}

/* True if `action` ends in a failed assertion. */
static bool dies(void (*action)(void))
{
	int status = 0;
	pid_t child = fork();
	if (child == 0) {
		signal(SIGABRT, SIG_DFL);
		close(STDERR_FILENO);
		action();
		_exit(0);
	}
	EXPECT(child > 0 && waitpid(child, &status, 0) == child);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* --- ports ------------------------------------------------------------------------- */

TEST(bus, unclaimed_ports_read_ones_and_swallow_writes)
{
	set_up();
	claim(0, 0x100, 8, BUS_BYTES);
	static const uint16_t ports[] = { 0, 0xff, 0x108, BUS_LOW_PORTS, 0xfffc };
	for (unsigned i = 0; i < ARRAY_COUNT(ports); i++) {
		EXPECT(in(ports[i], 1) == 0xff);
		EXPECT(in(ports[i] & ~1u, 2) == 0xffff);
		out(ports[i], 1, 0x12);
		EXPECT(access_count == 0);
	}
	EXPECT(in(0x200, 4) == 0xffffffff);
	out(0x200, 4, 0);
	EXPECT(access_count == 0);
}

/* Ranges in the table, across its end and above it, beside each other, and at the last port. */
TEST(bus, claims_answer_from_their_first_port_to_their_last)
{
	static const struct {
		uint16_t first;
		unsigned count;
	} ranges[] = {
		{ 0x10, 1 },
		{ 0x100, 8 },
		{ 0x108, 4 },
		{ BUS_LOW_PORTS - 2, 4 },
		{ BUS_LOW_PORTS + 2, 1 },
		{ 0x1000, 0x80 },
		{ 0xfff0, 0x10 },
	};
	set_up();
	for (unsigned i = 0; i < ARRAY_COUNT(ranges); i++)
		claim(i, ranges[i].first, ranges[i].count, BUS_BYTES);
	for (unsigned i = 0; i < ARRAY_COUNT(ranges); i++) {
		unsigned end = ranges[i].first + ranges[i].count;
		for (unsigned port = ranges[i].first; port < end; port++) {
			EXPECT(in((uint16_t)port, 1) == answer(i, port, 1));
			EXPECT(access_count == 1 && was(0, i, port, 1, 0));
			out((uint16_t)port, 1, 0x100 + i);
			EXPECT(access_count == 1 && was(0, i, port, 1, i));
		}
		(void)in(ranges[i].first - 1, 1);
		EXPECT(access_count == 0 || accesses[0].probe != i);
		(void)in((uint16_t)end, 1);
		EXPECT(access_count == 0 || accesses[0].probe != i);
	}
}

TEST(bus, wide_access_to_byte_ports_is_one_access_per_byte)
{
	set_up();
	claim(0, 0x100, 8, BUS_BYTES);
	uint32_t expected = 0;
	for (unsigned i = 0; i < 4; i++)
		expected |= (uint32_t)answer(0, 0x101 + i, 1) << 8 * i;
	EXPECT(in(0x101, 4) == expected && access_count == 4);
	for (unsigned i = 0; i < 4; i++)
		EXPECT(was(i, 0, 0x101 + i, 1, 0));
	EXPECT(in(0x101, 2) == (expected & 0xffff) && access_count == 2);
	out(0x102, 4, 0x44332211);
	EXPECT(access_count == 4);
	for (unsigned i = 0; i < 4; i++)
		EXPECT(was(i, 0, 0x102 + i, 1, 0x11 * (i + 1)));
	out(0x102, 2, 0x44332211);
	EXPECT(access_count == 2 && was(0, 0, 0x102, 1, 0x11) && was(1, 0, 0x103, 1, 0x22));
}

TEST(bus, wide_access_over_an_edge_goes_to_each_owner)
{
	set_up();
	claim(0, 0x100, 2, BUS_BYTES);
	claim(1, 0x103, 1, BUS_BYTES);
	EXPECT(in(0x100, 4) == (answer(0, 0x100, 1) | answer(0, 0x101, 1) << 8 | 0xff0000 |
				answer(1, 0x103, 1) << 24));
	EXPECT(in(0xff, 2) == (0xff | answer(0, 0x100, 1) << 8));
	out(0x101, 4, 0x44332211);
	EXPECT(access_count == 2 && was(0, 0, 0x101, 1, 0x11) && was(1, 1, 0x103, 1, 0x33));
	claim(2, 0xffff, 1, BUS_BYTES);
	claim(3, 0, 2, BUS_BYTES); /* follows port 0xffff */
	out(0xfffe, 4, 0x44332211);
	EXPECT(access_count == 3 && was(0, 2, 0xffff, 1, 0x22) && was(1, 3, 0, 1, 0x33));
	EXPECT(was(2, 3, 1, 1, 0x44));
}

TEST(bus, whole_ports_take_aligned_accesses_whole)
{
	static const uint16_t bases[] = { 0x100, 0x1000 }; /* found by the table, and by the list */
	set_up();
	for (unsigned i = 0; i < ARRAY_COUNT(bases); i++) {
		uint16_t base = bases[i];
		claim(i, base, 8, BUS_WHOLE);
		for (unsigned size = 1; size <= 4; size *= 2) {
			EXPECT(in(base + 4, size) == answer(i, base + 4, size));
			EXPECT(access_count == 1 && was(0, i, base + 4, size, 0));
			out(base + 4, size, 0x44332211);
			EXPECT(was(0, i, base + 4, size, vdev_bytes(0x44332211, size)));
			EXPECT(access_count == 1);
		}
		(void)in(base + 1, 2);
		EXPECT(access_count == 2 && was(0, i, base + 1, 1, 0) && was(1, i, base + 2, 1, 0));
		out(base + 2, 4, 0x44332211);
		EXPECT(access_count == 4 && was(0, i, base + 2, 1, 0x11));
	}
}

TEST(bus, the_first_ports_owner_decides_the_width)
{
	set_up();
	claim(0, 0x100, 1, BUS_WHOLE);
	claim(1, 0x101, 3, BUS_BYTES);
	claim(2, 0x104, 4, BUS_WHOLE);
	EXPECT(in(0x100, 4) == answer(0, 0x100, 4) && access_count == 1);
	out(0x100, 2, 0x2211);
	EXPECT(access_count == 1 && was(0, 0, 0x100, 2, 0x2211));
	out(0x102, 4, 0x44332211);
	EXPECT(access_count == 4 && was(1, 1, 0x103, 1, 0x22) && was(2, 2, 0x104, 1, 0x33));
}

static void claim_port_again(void)
{
	bus_ports_claim(&bus, &probes[1].dev, 0x107, 1, BUS_BYTES);
}

static void claim_around(void)
{
	bus_ports_claim(&bus, &probes[1].dev, 0xff, 10, BUS_WHOLE);
}

static void claim_own_ports_again(void)
{
	bus_ports_claim(&bus, &probes[0].dev, 0x100, 8, BUS_BYTES);
}

static void claim_high_port_again(void)
{
	bus_ports_claim(&bus, &probes[1].dev, 0xffe, 3, BUS_BYTES);
}

static void claim_nothing(void)
{
	bus_ports_claim(&bus, &probes[1].dev, 0x200, 0, BUS_BYTES);
}

static void claim_past_the_last_port(void)
{
	bus_ports_claim(&bus, &probes[1].dev, 0xffff, 2, BUS_BYTES);
}

static void claim_too_often(void)
{
	for (unsigned i = 0; i <= BUS_CLAIM_MAX; i++)
		bus_ports_claim(&bus, &probes[1].dev, (uint16_t)(0x2000 + i), 1, BUS_BYTES);
}

static void claim_without_operations(void)
{
	static struct vdev bare;
	bus_add(&bus, &bare, &bare_ops);
	bus_ports_claim(&bus, &bare, 0x200, 1, BUS_BYTES);
}

static void claim_beside(void)
{
	bus_ports_claim(&bus, &probes[1].dev, 0x108, 1, BUS_BYTES);
	bus_ports_claim(&bus, &probes[1].dev, 0xff, 1, BUS_BYTES);
	bus_ports_claim(&bus, &probes[1].dev, 0x1001, 1, BUS_BYTES);
}

TEST(bus, bad_claims_of_ports_are_assertions)
{
	set_up();
	claim(0, 0x100, 8, BUS_BYTES);
	claim(0, 0x1000, 1, BUS_WHOLE);
	EXPECT(!dies(claim_beside));
	EXPECT(dies(claim_port_again) && dies(claim_around) && dies(claim_own_ports_again));
	EXPECT(dies(claim_high_port_again));
	EXPECT(dies(claim_nothing) && dies(claim_past_the_last_port));
	EXPECT(dies(claim_too_often) && dies(claim_without_operations));
}

/* --- memory ------------------------------------------------------------------------ */

static void claim_page(unsigned number, uint64_t page)
{
	bus_memory_claim(&bus, &probes[number].dev, gfn(page));
	bus_check(&bus);
}

TEST(bus, a_claimed_page_takes_what_lies_in_it)
{
	uint64_t value = 0;
	set_up();
	claim_page(0, 0xfed00);
	claim_page(1, 0xfed01);
	for (unsigned size = 1; size <= 8; size *= 2) {
		access_count = 0;
		EXPECT(bus_memory_read(&bus, gpa(0xfed01000), size, &value, now));
		EXPECT(was(0, 1, 0, size, 0) && value == answer(1, 0, size));
		EXPECT(bus_memory_write(&bus, gpa(0xfed01000 - size), size, 7, now));
		EXPECT(was(1, 0, 0x1000 - size, size, 7) && access_count == 2);
		EXPECT(!bus_memory_read(&bus, gpa(0xfecfffff), size, &value, now));
		EXPECT(!bus_memory_write(&bus, gpa(0xfed02000), size, 7, now));
		EXPECT(access_count == 2 && value == answer(1, 0, size));
		if (size == 1)
			continue;
		/* Neither device answers an access across their common edge. */
		EXPECT(!bus_memory_read(&bus, gpa(0xfed01001 - size), size, &value, now));
		EXPECT(!bus_memory_write(&bus, gpa(0xfed01001 - size), size, 7, now));
		EXPECT(access_count == 2);
	}
}

static void claim_page_again(void)
{
	bus_memory_claim(&bus, &probes[1].dev, gfn(0xfed00));
}

static void claim_too_many_pages(void)
{
	for (unsigned i = 0; i < BUS_PAGE_MAX; i++)
		bus_memory_claim(&bus, &probes[1].dev, gfn(0xfed01 + i));
}

static void claim_page_without_operations(void)
{
	static struct vdev bare;
	bus_add(&bus, &bare, &bare_ops);
	bus_memory_claim(&bus, &bare, gfn(0xfed01));
}

TEST(bus, bad_claims_of_memory_are_assertions)
{
	set_up();
	claim_page(0, 0xfed00);
	EXPECT(dies(claim_page_again) && dies(claim_too_many_pages));
	EXPECT(dies(claim_page_without_operations));
}

/* --- timers and reset -------------------------------------------------------------- */

static void timer_set(unsigned number, uint64_t deadline)
{
	uint32_t before = bus.changes;
	bus_timer_set(&probes[number].dev, deadline);
	EXPECT(bus.changes != before && bus_timer_deadline(&probes[number].dev) == deadline);
	bus_check(&bus);
}

static uint64_t advance_to(uint64_t time)
{
	now = time;
	order_count = 0;
	uint64_t next = bus_advance(&bus, now);
	EXPECT(next == bus.next_deadline);
	bus_check(&bus);
	return next;
}

TEST(bus, the_earliest_deadline_is_kept)
{
	set_up();
	EXPECT(bus.next_deadline == NEVER);
	timer_set(3, 5000);
	timer_set(1, 7000);
	EXPECT(bus.next_deadline == 5000);
	timer_set(7, 4000);
	timer_set(2, 4000);
	EXPECT(bus.next_deadline == 4000);
	timer_set(7, 9000); /* but timer 2 is as early */
	EXPECT(bus.next_deadline == 4000);
	timer_set(2, NEVER);
	EXPECT(bus.next_deadline == 5000);
	timer_set(3, 8000);
	EXPECT(bus.next_deadline == 7000);
	timer_set(1, NEVER);
	timer_set(3, NEVER);
	timer_set(7, NEVER);
	EXPECT(bus.next_deadline == NEVER);
}

TEST(bus, timers_fire_when_they_are_due)
{
	set_up();
	timer_set(5, 2000);
	timer_set(1, 2001);
	timer_set(6, 3000);
	probes[5].period = 10000;
	EXPECT(advance_to(1999) == 2000 && order_count == 0);
	EXPECT(advance_to(2001) == 3000);
	EXPECT(order_count == 2 && order[0] == 1 && order[1] == 5);
	EXPECT(bus_timer_deadline(&probes[5].dev) == 12001);
	EXPECT(advance_to(11999) == 12001 && order_count == 1 && order[0] == 6);
	EXPECT(advance_to(40000) == 50000 && order_count == 1);
	/* A stopped timer does not fire even at the end of time. */
	timer_set(5, NEVER);
	EXPECT(advance_to(NEVER) == NEVER && order_count == 0);
}

TEST(bus, reset_stops_timers_and_goes_in_order)
{
	set_up();
	timer_set(4, 2000);
	uint32_t before = bus.changes;
	bus_reset(&bus, now);
	bus_check(&bus);
	EXPECT(bus.changes != before && bus.next_deadline == NEVER);
	EXPECT(order_count == PROBE_MAX);
	for (unsigned i = 0; i < PROBE_MAX; i++)
		EXPECT(order[i] == i && probes[i].reset_count == 1);
}

static struct vdev bare;

static void add_too_many(void)
{
	static struct vdev more[SLOT_MAX];
	for (unsigned i = 0; i < SLOT_MAX; i++)
		bus_add(&bus, &more[i], &bare_ops);
}

TEST(bus, a_device_may_have_no_operation_at_all)
{
	set_up();
	bus_add(&bus, &bare, &bare_ops);
	bus_reset(&bus, now);
	EXPECT(bus_timer_deadline(&bare) == NEVER);
	EXPECT(advance_to(NEVER) == NEVER);
	bus_check(&bus);
	EXPECT(dies(add_too_many));
}

/* --- check ------------------------------------------------------------------------- */

static void check_bus(void)
{
	bus_check(&bus);
}

TEST(bus, check_asks_every_device)
{
	set_up();
	check_count = 0;
	bus_check(&bus);
	EXPECT(check_count == PROBE_MAX);
}

TEST(bus, check_sees_a_wrong_deadline)
{
	set_up();
	timer_set(4, 2000);
	bus.next_deadline = 1999;
	EXPECT(dies(check_bus));
	bus.next_deadline = 2000;
	EXPECT(!dies(check_bus));
	bus_add(&bus, &bare, &bare_ops);
	slots[PROBE_MAX].deadline = 3000; /* it has no timer */
	EXPECT(dies(check_bus));
	slots[PROBE_MAX].deadline = NEVER;
	bare.slot = 0;
	EXPECT(dies(check_bus));
}

TEST(bus, check_compares_the_table_with_the_claims)
{
	set_up();
	claim(0, 0x100, 8, BUS_BYTES);
	claim(1, BUS_LOW_PORTS - 1, 4, BUS_WHOLE);
	bus.owners[0x200] = 1; /* not claimed */
	EXPECT(dies(check_bus));
	bus.owners[0x200] = 0;
	bus.owners[0x104] = 2; /* another device */
	EXPECT(dies(check_bus));
	bus.owners[0x104] = -1; /* another width */
	EXPECT(dies(check_bus));
	bus.owners[0x104] = 1;
	EXPECT(!dies(check_bus));
}

TEST(bus, check_sees_claims_that_overlap)
{
	set_up();
	claim(0, 0x1008, 4, BUS_BYTES);
	claim(1, 0x1000, 8, BUS_WHOLE);
	bus.claims[0].count = 9;
	EXPECT(dies(check_bus));
	bus.claims[0].count = 0;
	EXPECT(dies(check_bus));
	bus.claims[0].count = 8;
	EXPECT(!dies(check_bus));
}

/* --- against a model ---------------------------------------------------------------- */

static struct {
	int8_t probe; /* -1: unclaimed */
	bool is_whole;
} model[0x10000];

static uint64_t random_state;

static uint64_t random64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state * 0x2545f4914f6cdd1dull;
}

static uint16_t random_port(void)
{
	static const uint16_t places[] = { 0, 0x3f0, BUS_LOW_PORTS - 0x20, 0x1000, 0xffe0 };
	return (uint16_t)(places[random64() % ARRAY_COUNT(places)] + random64() % 64);
}

static void random_claims(void)
{
	memset(model, 0xff, sizeof(model));
	while (bus.claim_count < BUS_CLAIM_MAX) {
		uint16_t first = random_port();
		unsigned number = (unsigned)(random64() % PROBE_MAX);
		unsigned count = (unsigned)(random64() % 8 + 1);
		bool is_whole = random64() % 2;
		while (count != 0 &&
		       (first + count > 0x10000 || model[first + count - 1].probe >= 0))
			count--;
		for (unsigned i = 0; i < count; i++)
			if (model[first + i].probe >= 0)
				count = i;
		if (count == 0)
			continue;
		claim(number, first, count, is_whole ? BUS_WHOLE : BUS_BYTES);
		for (unsigned i = 0; i < count; i++) {
			model[first + i].probe = (int8_t)number;
			model[first + i].is_whole = is_whole;
		}
	}
}

static uint32_t model_read(uint16_t port, unsigned size)
{
	if (model[port].probe >= 0 && model[port].is_whole && port % size == 0)
		return (uint32_t)answer((unsigned)model[port].probe, port, size);
	uint32_t value = 0;
	for (unsigned i = 0; i < size; i++) {
		uint16_t at = (uint16_t)(port + i);
		uint32_t byte = 0xff;
		if (model[at].probe >= 0)
			byte = (uint32_t)answer((unsigned)model[at].probe, at, 1);
		value |= byte << 8 * i;
	}
	return value;
}

/* A write must make the same accesses as a read of the same ports. */
static void write_and_compare(uint16_t port, unsigned size, uint32_t value)
{
	struct access reads[4] = { 0 };
	(void)in(port, size);
	unsigned count = access_count;
	memcpy(reads, accesses, sizeof(reads));
	out(port, size, value);
	EXPECT(access_count == count);
	for (unsigned i = 0; i < count; i++) {
		unsigned distance = (reads[i].at - port) & 0xffff;
		EXPECT(was(i, reads[i].probe, reads[i].at, reads[i].size,
			   vdev_bytes(value >> 8 * distance, reads[i].size)));
	}
}

TEST(bus, a_million_random_accesses_agree_with_the_model)
{
	random_state = 20240229;
	for (unsigned round = 0; round < 20; round++) {
		set_up();
		random_claims();
		for (unsigned step = 0; step < 50000; step++) {
			uint16_t port = random64() % 8 ? random_port() : (uint16_t)random64();
			unsigned size = 1u << random64() % 3;
			if (random64() % 2)
				EXPECT(in(port, size) == model_read(port, size));
			else
				write_and_compare(port, size, (uint32_t)random64());
			if (random64() % 8 == 0)
				bus_timer_set(&probes[random64() % PROBE_MAX].dev,
					      now + random64() % 1000);
			if (random64() % 8 == 0)
				(void)bus_advance(&bus, now += random64() % 500);
			if (step % 16 == 0)
				bus_check(&bus);
		}
		bus_check(&bus);
	}
}

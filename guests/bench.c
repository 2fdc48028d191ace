/* SPDX-License-Identifier: MIT */
/*
 * Measures what an exit costs, from leaving the guest to running it again, in
 * ticks of the time stamp counter; under QEMU's -icount a tick is an instruction.
 * The cost of the two RDTSC around it is subtracted. Prints one line for each
 * operation:
 *
 *   bench NAME UNIT MIN MEDIAN MAX SAMPLES
 */

#include "guest.h"

#define SAMPLE_COUNT 200u
#define WARM_UP      8u

#define PIT_COUNTER_0  0x40
#define PORT_NOBODY    0x2e0
#define MSR_APIC_BASE  0x1b
#define LAPIC_VERSION  0xfee00030ull
#define HYPERCALL_NONE 0xffffffffu
#define WRITE_REGION   (64ull << 20)
#define READ_REGION    (96ull << 20)
#define WRITE_STRIDE   (3 * GUEST_PAGE_SIZE) /* neighbours would be given ahead, as a run */
#define READ_STRIDE    GUEST_PAGE_SIZE

static uint64_t samples[SAMPLE_COUNT];
static uint64_t clock_cost;
static bool is_intel;

static void cpuid(uint32_t leaf, uint32_t *out_ebx)
{
	uint32_t eax = leaf, ecx = 0, edx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(*out_ebx), "+c"(ecx), "=d"(edx) : : "memory");
}

static void do_nothing(unsigned i)
{
	(void)i;
}

static void do_cpuid(unsigned i)
{
	uint32_t ebx;

	(void)i;
	cpuid(0, &ebx);
}

static void do_hypercall(unsigned i)
{
	uint64_t number = HYPERCALL_NONE;

	(void)i;
	if (is_intel)
		__asm__ volatile("vmcall" : "+a"(number) : : "rbx", "rcx", "rdx", "memory");
	else
		__asm__ volatile("vmmcall" : "+a"(number) : : "rbx", "rcx", "rdx", "memory");
}

/* False if an unknown hypercall is an invalid instruction: then there is nothing to measure. */
static bool has_hypercalls(void)
{
	if (is_intel)
		return FAULTING("movl $-1, %%eax; vmcall") == NO_FAULT;
	return FAULTING("movl $-1, %%eax; vmmcall") == NO_FAULT;
}

static void do_pio_pit(unsigned i)
{
	(void)i;
	(void)in8(PIT_COUNTER_0);
}

static void do_pio_none(unsigned i)
{
	(void)i;
	(void)in8(PORT_NOBODY);
}

static void do_rdmsr(unsigned i)
{
	uint32_t low, high;

	(void)i;
	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(MSR_APIC_BASE) : "memory");
}

static void do_mmio_lapic(unsigned i)
{
	(void)i;
	(void)*(volatile uint32_t *)LAPIC_VERSION;
}

static void do_write_zero(unsigned i)
{
	*word_at(WRITE_REGION + i * WRITE_STRIDE) = 1;
}

static void do_read_zero(unsigned i)
{
	(void)*word_at(READ_REGION + i * READ_STRIDE);
}

static void sort(uint64_t *values, unsigned count)
{
	for (unsigned i = 1; i < count; i++) {
		uint64_t value = values[i];
		unsigned at = i;

		for (; at > 0 && values[at - 1] > value; at--)
			values[at] = values[at - 1];
		values[at] = value;
	}
}

/* All operations are called from here, so that the cost of the call cancels out. */
static uint64_t __attribute__((noinline)) measure(void (*operation)(unsigned), unsigned i)
{
	uint64_t start = rdtsc();

	operation(i);
	return rdtsc() - start;
}

static void collect(void (*operation)(unsigned), unsigned warm_up)
{
	/* Touch the array now, so that its own pages do not fault while the clock runs. */
	for (unsigned i = 0; i < SAMPLE_COUNT; i++)
		samples[i] = 0;
	for (unsigned i = 0; i < warm_up; i++)
		(void)measure(operation, i);
	for (unsigned i = 0; i < SAMPLE_COUNT; i++)
		samples[i] = measure(operation, i);
	sort(samples, SAMPLE_COUNT);
}

static uint64_t net(uint64_t ticks)
{
	return ticks > clock_cost ? ticks - clock_cost : 0;
}

static void bench(const char *name, void (*operation)(unsigned), unsigned warm_up)
{
	collect(operation, warm_up);
	print("bench ");
	print(name);
	print(" instructions ");
	print_number(net(samples[0]));
	print(" ");
	print_number(net(samples[SAMPLE_COUNT / 2]));
	print(" ");
	print_number(net(samples[SAMPLE_COUNT - 1]));
	print_result("", SAMPLE_COUNT);
}

uint32_t guest_main(void)
{
	uint32_t vendor;

	cpuid(0, &vendor);
	is_intel = vendor == 0x756e6547; /* "Genu" */
	collect(do_nothing, WARM_UP);
	clock_cost = samples[SAMPLE_COUNT / 2];

	bench("exit.cpuid", do_cpuid, WARM_UP);
	if (has_hypercalls())
		bench("exit.hypercall", do_hypercall, WARM_UP);
	bench("exit.pio.pit", do_pio_pit, WARM_UP);
	bench("exit.pio.none", do_pio_none, WARM_UP);
	bench("exit.rdmsr", do_rdmsr, WARM_UP);
	bench("exit.mmio.lapic", do_mmio_lapic, WARM_UP);
	if (READ_REGION + SAMPLE_COUNT * READ_STRIDE > ram_end()) {
		print("not ok bench: needs 97 MiB\n");
		return 1;
	}
	/* No warm-up: each page can be touched for the first time only once. */
	bench("fault.write.zero", do_write_zero, 0);
	bench("fault.read.zero", do_read_zero, 0);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* Prints the reason, the registers and a backtrace on the polled console, then ends the run. */
#include "panic.h"

#include <stdarg.h>

#include <quire/assert.h>
#include <quire/layout.h>

#include "lib/format.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/percpu.h"
#include "arch/x86_64/trap.h"

#include "cmdline.h"
#include "console.h"
#include "power.h"

#define BACKTRACE_MAX 24u
/* The next frame lies above the last one, and no further away than this. */
#define STACK_BYTES_MAX 65536u

static const char *const exception_names[TRAP_EXCEPTION_COUNT] = {
	[0] = "#DE divide error", [1] = "#DB debug",          [2] = "NMI",
	[3] = "#BP breakpoint",   [6] = "#UD invalid opcode", [7] = "#NM no FPU",
	[8] = "#DF double fault", [12] = "#SS stack fault",   [13] = "#GP general protection",
	[14] = "#PF page fault",  [18] = "#MC machine check",
};

static unsigned panics;
static const char *(*thread_name)(void);

static void print_address(uint64_t address)
{
	uint64_t offset;
	const char *name = symbol_find(address, &offset);
	if (name)
		console_print("  %#018llx %s+%#llx\n", (unsigned long long)address, name,
			      (unsigned long long)offset);
	else
		console_print("  %#018llx\n", (unsigned long long)address);
}

/* Follows the frame pointers, which all code keeps. A damaged chain ends the walk. */
static void backtrace(uint64_t rbp)
{
	uint64_t last = rbp - 1;
	console_print("backtrace:\n");
	for (unsigned i = 0; i < BACKTRACE_MAX; i++) {
		if (rbp <= last || rbp - last > STACK_BYTES_MAX || (rbp & 7))
			return;
		const uint64_t *frame = (const uint64_t *)rbp;
		uint64_t address = frame[1];
		if (address < (uintptr_t)layout_text_start || address >= (uintptr_t)layout_text_end)
			return;
		print_address(address);
		last = rbp;
		rbp = frame[0];
	}
}

static void print_registers(const struct trap_frame *f)
{
	const struct {
		const char *name;
		uint64_t value;
	} registers[] = {
		{ "rax", f->rax },        { "rbx", f->rbx },         { "rcx", f->rcx },
		{ "rdx", f->rdx },        { "rsi", f->rsi },         { "rdi", f->rdi },
		{ "rbp", f->rbp },        { "rsp", f->rsp },         { "r8", f->r8 },
		{ "r9", f->r9 },          { "r10", f->r10 },         { "r11", f->r11 },
		{ "r12", f->r12 },        { "r13", f->r13 },         { "r14", f->r14 },
		{ "r15", f->r15 },        { "rip", f->rip },         { "rfl", f->rflags },
		{ "err", f->error_code }, { "cr2", cpu_read_cr2() }, { "cr3", cpu_read_cr3() },
	};
	for (unsigned i = 0; i < ARRAY_COUNT(registers); i++)
		console_print("%4s %016llx%s", registers[i].name,
			      (unsigned long long)registers[i].value, i % 4 == 3 ? "\n" : "");
	console_print("\n");
}

void panic_thread_name_set(const char *(*name)(void))
{
	thread_name = name;
}

static void begin(void)
{
	cpu_irq_disable();
	/* A panic in a panic: only the exit status can still be printed. */
	if (panics++)
		power_halt(EXIT_STATUS_PANIC);
	console_polled();
}

Q_NORETURN static void end(uint64_t rbp)
{
	unsigned cpu = percpu()->index;
	console_print("cpu %u, thread %s\n", cpu, thread_name ? thread_name() : "none");
	backtrace(rbp);
	if (options()->events_json)
		console_print("@{\"event\":\"panic\",\"cpu\":%u}\n", cpu);
	if (options()->exit_mode == EXIT_MODE_POWEROFF)
		power_off(EXIT_STATUS_PANIC);
	power_halt(EXIT_STATUS_PANIC);
}

void panic(const char *format, ...)
{
	begin();
	char text[256];
	va_list args;
	va_start(args, format);
	format_text_va(text, sizeof(text), format, args);
	va_end(args);
	console_print("\npanic: %s\n", text);
	end((uintptr_t)__builtin_frame_address(0));
}

void panic_trap(const struct trap_frame *frame)
{
	begin();
	const char *name = exception_names[frame->vector];
	console_print("\npanic: %s (vector %llu) at\n", name ? name : "exception",
		      (unsigned long long)frame->vector);
	print_address(frame->rip);
	print_registers(frame);
	end(frame->rbp);
}

void assert_failed(const char *expression, const char *file, unsigned line)
{
	panic("%s:%u: assertion failed: %s", file, line, expression);
}

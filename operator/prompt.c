/* SPDX-License-Identifier: MIT */
#include "operator/prompt.h"

#include "lib/string.h"
#include "arch/x86_64/cpu.h"
#include "kernel/cmdline.h"
#include "kernel/console.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "vm/vm.h"

#include "operator/commands.h"

#include "prompt_line.h"

#define PROMPT         "quire> "
#define KEY_DETACH     0x1d /* Ctrl-] */
#define INPUT_BYTES    512u /* typed ahead for a guest */
#define INPUT_RETRY_US 5000u

static struct prompt_line line;
/* A prompt is on the terminal: log lines must not break it. */
static bool has_prompt;
static struct vm *wanted; /* the VM to attach next, or NULL */
static struct thread *reader;

static void write_text(const char *text)
{
	console_print("%s", text);
}

static void prompt_hide(void)
{
	/* A program that reads events needs each at the start of a line: end the prompt's line. */
	if (has_prompt)
		write_text(options()->events_json ? "\n" : "\r\x1b[K");
}

static void prompt_show(void)
{
	if (!has_prompt)
		return;
	write_text(PROMPT);
	write_text(line.text);
}

static void reader_wake(void)
{
	thread_unpark(reader);
}

static int getc_wait(void)
{
	int byte;
	while ((byte = console_getc()) < 0)
		thread_park();
	return byte;
}

/* --- attached to a VM ------------------------------------------------------------------------- */

struct input {
	uint8_t bytes[INPUT_BYTES];
	unsigned count;
};

/*
 * Reads what was typed. False: Ctrl-] was typed, so it is time to leave. A byte for which there is
 * no room is lost: a guest that takes no input must not keep us from reading Ctrl-].
 */
static bool input_read(struct input *input)
{
	for (int byte; (byte = console_getc()) >= 0;) {
		if (byte == KEY_DETACH)
			return false;
		if (input->count < INPUT_BYTES)
			input->bytes[input->count++] = (uint8_t)byte;
	}
	return true;
}

/* Passes to the guest what its port takes, and keeps the rest. */
static void input_pass(struct input *input, struct vm *vm)
{
	unsigned taken = input->count ? vm_serial_input(vm, input->bytes, input->count) : 0;
	input->count -= taken;
	for (unsigned i = 0; i < input->count; i++)
		input->bytes[i] = input->bytes[i + taken];
}

static void attached_loop(struct vm *vm)
{
	struct input input = { .count = 0 };
	for (;;) {
		bool is_leaving = !input_read(&input);
		input_pass(&input, vm);
		if (is_leaving || !vm_is_alive(vm))
			return;
		if (input.count)
			thread_park_until(cpu_rdtsc() + time_ticks_from_us(INPUT_RETRY_US));
		else
			thread_park();
	}
}

static void attached_run(struct vm *vm)
{
	console_print("attached to %s; Ctrl-] leaves\n", vm_name(vm));
	vm_watcher_set(vm, thread_self());
	vm_serial_attach(vm);
	attached_loop(vm);
	vm_serial_detach(vm);
	vm_watcher_set(vm, NULL);
	console_print("\ndetached from %s\n", vm_name(vm));
}

void prompt_attach(struct vm *vm)
{
	wanted = vm;
}

/* --- the prompt ------------------------------------------------------------------------------- */

/* After Tab: adds what is certain. If nothing is, lists the candidates. */
static void command_line_complete(void)
{
	char to_add[64];
	if (command_complete(line.text, to_add, sizeof(to_add)) <= 1 || to_add[0]) {
		prompt_line_add(&line, to_add);
		return;
	}
	write_text("\n");
	command_candidates_print(line.text);
	prompt_show();
}

static void command_read(void)
{
	enum prompt_line_result result = PROMPT_LINE_MORE;
	has_prompt = true;
	prompt_show();
	while (result != PROMPT_LINE_FINISHED) {
		result = prompt_line_input(&line, PROMPT, (char)getc_wait());
		if (result == PROMPT_LINE_COMPLETE)
			command_line_complete();
		console_write(line.echo, strlen(line.echo));
	}
	has_prompt = false;
}

void prompt_run(struct vm *attach)
{
	char command[PROMPT_LINE_BYTES];
	reader = thread_self();
	console_input_hook_set(reader_wake);
	console_line_hook_set(prompt_hide, prompt_show);
	wanted = attach;
	for (;;) {
		struct vm *vm = wanted;
		wanted = NULL;
		if (vm)
			attached_run(vm);
		command_read();
		memcpy(command, line.text, sizeof(command));
		prompt_line_next(&line);
		command_run(command);
	}
}

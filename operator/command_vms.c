/* SPDX-License-Identifier: MIT */
/* The VMs that a command's words name. */
#include "lib/string.h"
#include "kernel/console.h"
#include "vm/vm.h"
#include "operator/commands.h"

const char *command_candidate_vm(unsigned position, unsigned index)
{
	struct vm *vm = position == 1 ? vm_next(NULL) : NULL;
	while (vm && index--)
		vm = vm_next(vm);
	return vm ? vm_name(vm) : NULL;
}

static struct vm *vm_lookup(const struct command_words *words)
{
	struct vm *vm = vm_find(words->word[1]);
	if (!vm)
		console_print("%s: there is no VM '%.40s'\n", words->word[0], words->word[1]);
	return vm;
}

struct vm *command_vm(const struct command_words *words)
{
	if (words->count >= 2)
		return vm_lookup(words);
	console_print("%s: which VM?\n", words->word[0]);
	return NULL;
}

bool command_vms_start(const struct command_words *words, struct vm **out_first)
{
	if (words->count < 2) {
		*out_first = vm_next(NULL);
		return true;
	}
	*out_first = vm_lookup(words);
	return *out_first != NULL;
}

struct vm *command_vms_next(const struct command_words *words, const struct vm *vm)
{
	return words->count > 1 ? NULL : vm_next(vm);
}

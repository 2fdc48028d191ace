/* SPDX-License-Identifier: MIT */
/*
 * quire.conf: text to lines, lines to sections and keys. Strict, so that a
 * typing error never starts a VM that is not the one meant: unknown keys, keys
 * and sections given twice, and anything that is not text are refused with
 * their line. What a VM's keys mean is in config_vm.c.
 */
#include "operator/config.h"

#include <quire/bits.h>

#include "lib/error_text.h"
#include "lib/number.h"
#include "lib/string.h"

#include "config_internal.h"

#define FILE_NAME        "quire.conf"
#define LINE_BYTES       (VM_CMDLINE_BYTES + 64)
#define SCAN_CPU_PERCENT 2u
#define SCAN_MEMORY_MIN  (4ull << 10)
#define SCAN_MEMORY_MAX  (4ull << 20) /* what a run of pages may take */

enum section { SECTION_NONE, SECTION_MACHINE, SECTION_VM };
enum machine_key { MACHINE_SCAN, MACHINE_SCAN_CPU, MACHINE_SCAN_MEMORY, MACHINE_ATTACH };

static const char *const machine_keys[] = {
	[MACHINE_SCAN] = "scan",
	[MACHINE_SCAN_CPU] = "scan-cpu",
	[MACHINE_SCAN_MEMORY] = "scan-memory",
	[MACHINE_ATTACH] = "attach",
	NULL,
};

struct parser {
	struct config *config;
	struct error_text *error;
	const char *at, *end; /* the text that is left */
	unsigned line;
	enum section section;
	unsigned section_line, attach_line; /* 0: none yet */
	bool has_machine;
	uint32_t machine_keys_given;
};

static q_status_t fail(const struct parser *p, unsigned line, q_status_t status, const char *reason)
{
	return refuse(p->error, status, FILE_NAME ":%u: %s", line, reason);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Cuts blanks off both ends, in place. */
static char *trim(char *text)
{
	while (is_blank(*text))
		text++;
	size_t length = strlen(text);
	while (length && is_blank(text[length - 1]))
		length--;
	text[length] = 0;
	return text;
}

/* How many bytes follow the first one of a UTF-8 sequence; 4: it is none. */
static unsigned utf8_tail(uint8_t first)
{
	if (first < 0x80)
		return 0;
	if (first >= 0xc2 && first <= 0xdf)
		return 1;
	if (first >= 0xe0 && first <= 0xef)
		return 2;
	return first >= 0xf0 && first <= 0xf4 ? 3 : 4;
}

/* Bytes of the valid UTF-8 character at the start, 0 if there is none. */
static unsigned utf8_length(const char *text, size_t size_bytes)
{
	uint8_t first = (uint8_t)text[0];
	unsigned tail = utf8_tail(first);
	if (tail >= 4 || tail >= size_bytes)
		return 0;
	for (unsigned i = 1; i <= tail; i++) {
		if (((uint8_t)text[i] & 0xc0) != 0x80)
			return 0;
	}
	/* Overlong forms, surrogates, and what is beyond U+10FFFF show in the second byte. */
	uint8_t second = tail ? (uint8_t)text[1] : 0;
	bool is_bad = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
		      (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
	return is_bad ? 0 : tail + 1;
}

/* Copies the next line, without its end. False: there is none, or *out_problem is set. */
static bool line_next(struct parser *p, char *to, const char **out_problem)
{
	size_t length = 0;
	if (p->at == p->end)
		return false;
	p->line++;
	while (p->at < p->end && *p->at != '\n') {
		unsigned bytes = utf8_length(p->at, (size_t)(p->end - p->at));
		uint8_t first = (uint8_t)*p->at;
		if (bytes == 0)
			*out_problem = "not valid UTF-8";
		else if ((first < ' ' && !is_blank((char)first)) || first == 0x7f)
			*out_problem = "a control character";
		else if (length + bytes >= LINE_BYTES)
			*out_problem = "the line is too long";
		if (*out_problem)
			return false;
		memcpy(to + length, p->at, bytes);
		length += bytes;
		p->at += bytes;
	}
	to[length] = 0;
	if (p->at < p->end)
		p->at++;
	return true;
}

static struct vm_config *vm_current(const struct parser *p)
{
	return &p->config->vms[p->config->vm_count - 1];
}

static struct vm_config *vm_find(const struct config *config, const char *name)
{
	for (unsigned i = 0; i < config->vm_count; i++) {
		if (strcmp(config->vms[i].name, name) == 0)
			return &config->vms[i];
	}
	return NULL;
}

/* What is missing in a section is reported with the section's line. */
static q_status_t section_finish(struct parser *p)
{
	struct error_text reason;
	if (p->section != SECTION_VM)
		return Q_OK;
	q_status_t status = config_vm_complete(vm_current(p), &reason);
	return status == Q_OK ? Q_OK : fail(p, p->section_line, status, reason.text);
}

static q_status_t machine_start(struct parser *p)
{
	if (p->has_machine)
		return fail(p, p->line, Q_EXISTS, "section [machine] is given twice");
	p->has_machine = true;
	p->section = SECTION_MACHINE;
	return Q_OK;
}

static q_status_t vm_start(struct parser *p, const char *name)
{
	struct error_text reason;
	if (vm_find(p->config, name))
		return fail(p, p->line, Q_EXISTS, "there is a VM of this name already");
	if (p->config->vm_count == p->config->vm_max)
		return fail(p, p->line, Q_LIMIT, "too many VMs");
	q_status_t status = config_vm_init(&p->config->vms[p->config->vm_count], name, &reason);
	if (status != Q_OK)
		return fail(p, p->line, status, reason.text);
	p->config->vm_count++;
	p->section = SECTION_VM;
	p->section_line = p->line;
	return Q_OK;
}

/* `text` starts with '['. */
static q_status_t section_start(struct parser *p, char *text)
{
	q_status_t status = section_finish(p);
	if (status != Q_OK)
		return status;
	size_t length = strlen(text);
	if (text[length - 1] != ']')
		return fail(p, p->line, Q_INVALID, "']' is missing at the end");
	text[length - 1] = 0;
	text = trim(text + 1);
	if (strcmp(text, "machine") == 0)
		return machine_start(p);
	if (strncmp(text, "vm", 2) == 0 && is_blank(text[2]))
		return vm_start(p, trim(text + 2));
	return refuse(p->error, Q_INVALID,
		      FILE_NAME ":%u: [%s] is no section: there are [machine] and [vm NAME]",
		      p->line, text);
}

static q_status_t machine_value_set(struct parser *p, enum machine_key key, const char *value)
{
	struct system_config *machine = &p->config->system;
	switch (key) {
	case MACHINE_SCAN:
		if (config_bool_parse(value, config_words_switch, &machine->scan) != Q_OK)
			return fail(p, p->line, Q_INVALID, "'scan' must be on or off");
		return Q_OK;
	case MACHINE_SCAN_CPU:
		if (config_count_parse(value, 100, &machine->scan_cpu_percent) != Q_OK)
			return fail(p, p->line, Q_INVALID, "'scan-cpu' must be 1 to 100");
		return Q_OK;
	case MACHINE_SCAN_MEMORY:
		if (size_parse(value, &machine->scan_memory_bytes) != Q_OK ||
		    machine->scan_memory_bytes < SCAN_MEMORY_MIN ||
		    machine->scan_memory_bytes > SCAN_MEMORY_MAX)
			return fail(p, p->line, Q_INVALID, "'scan-memory' must be 4K to 4M");
		return Q_OK;
	case MACHINE_ATTACH:
		p->attach_line = p->line;
		if (config_name_parse(value, machine->attach) != Q_OK)
			return fail(p, p->line, Q_INVALID, "'attach' must be the name of a VM");
		return Q_OK;
	}
	return Q_OK;
}

static q_status_t machine_set(struct parser *p, const char *key, const char *value)
{
	unsigned index;
	if (config_word_parse(key, machine_keys, &index) != Q_OK)
		return fail(p, p->line, Q_NOT_FOUND, "no such key in [machine]");
	if (p->machine_keys_given & BIT32(index))
		return fail(p, p->line, Q_EXISTS, "the key is given twice");
	p->machine_keys_given |= BIT32(index);
	return machine_value_set(p, (enum machine_key)index, value);
}

static q_status_t key_line(struct parser *p, char *text)
{
	char *equals = strchr(text, '=');
	if (!equals)
		return fail(p, p->line, Q_INVALID, "neither '[section]' nor 'key = value'");
	*equals = 0;
	const char *key = trim(text), *value = trim(equals + 1);
	if (p->section == SECTION_NONE)
		return fail(p, p->line, Q_INVALID, "a key before the first section");
	if (p->section == SECTION_MACHINE)
		return machine_set(p, key, value);

	struct error_text reason;
	q_status_t status = config_set_key(vm_current(p), key, value, &reason);
	return status == Q_OK ? Q_OK : fail(p, p->line, status, reason.text);
}

static q_status_t lines_parse(struct parser *p)
{
	char line[LINE_BYTES];
	const char *problem = NULL;
	while (line_next(p, line, &problem)) {
		char *text = trim(line);
		q_status_t status = Q_OK;
		if (*text == '[')
			status = section_start(p, text);
		else if (*text && *text != '#')
			status = key_line(p, text);
		if (status != Q_OK)
			return status;
	}
	return problem ? fail(p, p->line, Q_INVALID, problem) : section_finish(p);
}

/* Not given: the only VM with an attachable console, if there is just one. */
static void attach_default(struct config *config)
{
	const struct vm_config *only = NULL;
	for (unsigned i = 0; i < config->vm_count; i++) {
		if (config->vms[i].serial != SERIAL_CONSOLE)
			continue;
		if (only)
			return;
		only = &config->vms[i];
	}
	if (only)
		string_copy(config->system.attach, sizeof(config->system.attach), only->name);
}

static q_status_t attach_finish(struct parser *p)
{
	if (!p->attach_line) {
		attach_default(p->config);
		return Q_OK;
	}
	const struct vm_config *vm = vm_find(p->config, p->config->system.attach);
	if (!vm)
		return fail(p, p->attach_line, Q_NOT_FOUND, "'attach' names no VM");
	if (vm->serial != SERIAL_CONSOLE)
		return fail(p, p->attach_line, Q_INVALID,
			    "'attach' names a VM without 'serial = console'");
	return Q_OK;
}

q_status_t config_parse(const void *text, uint64_t size_bytes, struct config *config,
			struct error_text *error)
{
	struct parser p = { .config = config, .error = error };
	config->system =
		(struct system_config){ .scan = true, .scan_cpu_percent = SCAN_CPU_PERCENT };
	config->vm_count = 0;
	if (size_bytes > CONFIG_TEXT_MAX)
		return fail(&p, 1, Q_RANGE, "the file is larger than 64 KiB");
	p.at = text;
	p.end = p.at + size_bytes;
	q_status_t status = lines_parse(&p);
	return status == Q_OK ? attach_finish(&p) : status;
}

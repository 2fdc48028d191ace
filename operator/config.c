/* SPDX-License-Identifier: MIT */
/*
 * quire.conf: text to lines, lines to sections and keys.
 *
 * The parser is strict, so that a typing error never starts a VM that was not meant. It refuses
 * unknown keys, keys and sections given twice, and anything that is not text, with the line. It
 * goes on after an error, but does not judge what the error has spoilt: the keys of a section
 * whose first line is wrong, and whether a VM with a wrong key is complete.
 */
#include "operator/config.h"

#include <stdarg.h>

#include <quire/bits.h>
#include <quire/log.h>

#include "lib/error_text.h"
#include "lib/format.h"
#include "lib/string.h"

#include "config_words.h"

#define FILE_NAME        "quire.conf"
#define LINE_BYTES       (sizeof(vm_cmdline_t) + 64)
#define SCAN_CPU_PERCENT 2u

#define SYSTEM_KEY_ROW(key, field, type, ...) \
	CONFIG_KEY(struct system_config, key, field, __VA_ARGS__),
static const struct config_key system_rows[] = { SYSTEM_KEYS(SYSTEM_KEY_ROW) };
static const struct config_keys system_keys = { system_rows, ARRAY_COUNT(system_rows) };

enum section {
	SECTION_NONE,
	SECTION_MACHINE,
	SECTION_VM,
	SECTION_WRONG, /* its first line was refused: its keys are not judged */
};

struct parser {
	struct config *config;
	const char *at, *end; /* the text that is left */
	unsigned line_number;
	enum section section;
	bool is_vm_wrong;            /* a line of the current VM was refused */
	unsigned attach_line_number; /* 0: the key was not given */
	bool has_machine;
	uint64_t system_given;

	/* The first error. */
	struct error_text *error;
	q_status_t status;
};

/* --- errors ----------------------------------------------------------------------------------- */

static Q_PRINTF(4, 5) void report(struct parser *p, unsigned line_number, q_status_t status,
				  const char *format, ...)
{
	struct error_text text;
	va_list args;
	va_start(args, format);
	format_text_va(text.text, sizeof(text.text), format, args);
	va_end(args);
	if (p->status == Q_OK)
		p->status = refuse(p->error, status, FILE_NAME ":%u: %s", line_number, text.text);
	else
		log_error(FILE_NAME ":%u: %s", line_number, text.text);
}

/* --- lines ------------------------------------------------------------------------------------ */

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

/* Returns how many bytes follow the first byte of a UTF-8 sequence; 4: no sequence begins so. */
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

/* Returns the bytes of the UTF-8 character at the start of the text; 0: it is not valid. */
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
	/* The second byte shows overlong forms, surrogates, and what is beyond U+10FFFF. */
	uint8_t second = tail ? (uint8_t)text[1] : 0;
	bool is_bad = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
		      (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
	return is_bad ? 0 : tail + 1;
}

/* Takes the next line, without its end. Returns NULL, or what is wrong with the line. */
static const char *line_take(struct parser *p, char *to)
{
	const char *problem = NULL;
	size_t length = 0;
	p->line_number++;
	for (; p->at < p->end && *p->at != '\n'; p->at++) {
		unsigned bytes = utf8_length(p->at, (size_t)(p->end - p->at));
		uint8_t first = (uint8_t)*p->at;
		if (problem)
			continue;
		if (bytes == 0)
			problem = "not valid UTF-8";
		else if ((first < ' ' && !is_blank((char)first)) || first == 0x7f)
			problem = "a control character";
		else if (length + bytes >= LINE_BYTES)
			problem = "the line is too long";
		if (problem)
			continue;
		memcpy(to + length, p->at, bytes);
		length += bytes;
		p->at += bytes - 1;
	}
	to[length] = 0;
	if (p->at < p->end)
		p->at++;
	return problem;
}

/* --- sections --------------------------------------------------------------------------------- */

static struct config_vm *vm_current(const struct parser *p)
{
	return &p->config->vms[p->config->vm_count - 1];
}

static struct config_vm *config_vm_find(const struct config *config, const char *name)
{
	for (unsigned i = 0; i < config->vm_count; i++) {
		if (strcmp(config->vms[i].config.name, name) == 0)
			return &config->vms[i];
	}
	return NULL;
}

/* Ends a section. What is missing in a VM's section is reported at the section's first line. */
static void section_finish(struct parser *p)
{
	struct error_text reason;
	if (p->section != SECTION_VM || p->is_vm_wrong)
		return;
	struct config_vm *vm = vm_current(p);
	q_status_t status = config_vm_complete(vm, &reason);
	if (status != Q_OK)
		report(p, vm->line_number, status, "vm %s: %s", vm->config.name, reason.text);
}

static void machine_start(struct parser *p)
{
	if (p->has_machine) {
		report(p, p->line_number, Q_EXISTS, "section [machine] is given twice");
		return;
	}
	p->has_machine = true;
	p->section = SECTION_MACHINE;
}

static void vm_section_start(struct parser *p, const char *name)
{
	struct config *config = p->config;
	struct error_text reason;
	if (config_vm_find(config, name)) {
		report(p, p->line_number, Q_EXISTS, "there is a VM '%s' already", name);
		return;
	}
	if (config->vm_count == config->vm_max) {
		report(p, p->line_number, Q_LIMIT, "vm %.40s: there may be at most %u VMs", name,
		       config->vm_max);
		return;
	}
	struct config_vm *vm = &config->vms[config->vm_count];
	q_status_t status = config_vm_init(vm, name, &reason);
	if (status != Q_OK) {
		report(p, p->line_number, status, "%s", reason.text);
		return;
	}
	vm->line_number = p->line_number;
	config->vm_count++;
	p->is_vm_wrong = false;
	p->section = SECTION_VM;
}

/* `text` starts with '['. */
static void section_start(struct parser *p, char *text)
{
	section_finish(p);
	p->section = SECTION_WRONG;
	size_t length = strlen(text);
	if (text[length - 1] != ']') {
		report(p, p->line_number, Q_INVALID, "']' is missing at the end");
		return;
	}
	text[length - 1] = 0;
	text = trim(text + 1);
	if (strcmp(text, "machine") == 0)
		machine_start(p);
	else if (strncmp(text, "vm", 2) == 0 && is_blank(text[2]))
		vm_section_start(p, trim(text + 2));
	else
		report(p, p->line_number, Q_INVALID,
		       "[%.40s] is no section: there are [machine] and [vm NAME]", text);
}

/* --- keys ------------------------------------------------------------------------------------- */

static void system_set(struct parser *p, const char *key, const char *value)
{
	struct error_text reason;
	q_status_t status = config_key_set(&system_keys, key, value, &p->config->system,
					   &p->system_given, &reason);
	if (status != Q_OK)
		report(p, p->line_number, status, "%s", reason.text);
	else if (strcmp(key, "attach") == 0)
		p->attach_line_number = p->line_number;
}

static void vm_set(struct parser *p, const char *key, const char *value)
{
	struct error_text reason;
	struct config_vm *vm = vm_current(p);
	q_status_t status = config_vm_set(vm, key, value, &reason);
	if (status == Q_OK)
		return;
	p->is_vm_wrong = true;
	report(p, p->line_number, status, "vm %s: %s", vm->config.name, reason.text);
}

static void key_line(struct parser *p, char *text)
{
	char *equals = strchr(text, '=');
	if (p->section == SECTION_WRONG)
		return;
	if (!equals) {
		report(p, p->line_number, Q_INVALID, "neither '[section]' nor 'key = value'");
		p->is_vm_wrong = true;
		return;
	}
	*equals = 0;
	const char *key = trim(text), *value = trim(equals + 1);
	switch (p->section) {
	case SECTION_NONE:
		report(p, p->line_number, Q_INVALID, "a key before the first section");
		return;
	case SECTION_MACHINE: system_set(p, key, value); return;
	case SECTION_VM: vm_set(p, key, value); return;
	case SECTION_WRONG: return;
	}
}

/* Refuses a line. If it begins a section, the keys below do not belong to the previous section. */
static void line_refuse(struct parser *p, const char *text, const char *problem)
{
	if (*text == '[') {
		section_finish(p);
		p->section = SECTION_WRONG;
	}
	report(p, p->line_number, Q_INVALID, "%s", problem);
	p->is_vm_wrong = true;
}

static void lines_parse(struct parser *p)
{
	char line[LINE_BYTES];
	while (p->at < p->end) {
		const char *problem = line_take(p, line);
		char *text = trim(line);
		if (problem)
			line_refuse(p, text, problem);
		else if (*text == '[')
			section_start(p, text);
		else if (*text && *text != '#')
			key_line(p, text);
	}
	section_finish(p);
}

/* --- the VM whose console is attached --------------------------------------------------------- */

/* The default of `attach`: the VM with an attachable console, if there is just one. */
static void attach_default(struct config *config)
{
	const struct vm_config *only = NULL;
	for (unsigned i = 0; i < config->vm_count; i++) {
		if (config->vms[i].config.serial != SERIAL_CONSOLE)
			continue;
		if (only)
			return;
		only = &config->vms[i].config;
	}
	if (only)
		string_copy(config->system.attach, sizeof(config->system.attach), only->name);
}

static void attach_finish(struct parser *p)
{
	const char *name = p->config->system.attach;
	if (!p->attach_line_number) {
		attach_default(p->config);
		return;
	}
	const struct config_vm *vm = config_vm_find(p->config, name);
	if (!vm)
		report(p, p->attach_line_number, Q_NOT_FOUND, "attach = %s: there is no such VM",
		       name);
	else if (vm->config.serial != SERIAL_CONSOLE)
		report(p, p->attach_line_number, Q_INVALID,
		       "attach = %s: that VM has no 'serial = console'", name);
}

/* --- the file --------------------------------------------------------------------------------- */

unsigned config_vm_sections(const void *text, uint64_t size_bytes)
{
	const char *at = text, *end = at + size_bytes;
	bool is_line_start = true;
	unsigned count = 0;
	for (; at < end; at++) {
		count += is_line_start && *at == '[';
		is_line_start = *at == '\n' || (is_line_start && is_blank(*at));
	}
	return count;
}

q_status_t config_parse(const void *text, uint64_t size_bytes, struct config *config,
			struct error_text *error)
{
	struct parser p = { .config = config, .error = error, .status = Q_OK };
	config->system =
		(struct system_config){ .scan = true, .scan_cpu_percent = SCAN_CPU_PERCENT };
	config->vm_count = 0;
	if (size_bytes > CONFIG_TEXT_MAX) {
		report(&p, 1, Q_RANGE, "the file has %llu bytes, and may have at most %u",
		       (unsigned long long)size_bytes, CONFIG_TEXT_MAX);
		return p.status;
	}
	p.at = text;
	p.end = p.at + size_bytes;
	lines_parse(&p);
	if (p.status == Q_OK)
		attach_finish(&p);
	return p.status;
}

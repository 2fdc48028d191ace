/* SPDX-License-Identifier: MIT */
/* Quire's command line: words of the form NAME=VALUE. docs/operating.md lists them. */
#ifndef KERNEL_CMDLINE_H
#define KERNEL_CMDLINE_H

#include <quire/log.h>
#include <quire/status.h>

struct error_text;

enum exit_mode { EXIT_MODE_POWEROFF, EXIT_MODE_HALT, EXIT_MODE_PROMPT };

struct options {
	unsigned console_port; /* 1 or 2 */
	enum log_level log_level;
	bool events_json;
	enum exit_mode exit_mode;
	uint64_t memory_limit_bytes; /* 0: none */
	bool elides_zeroing;         /* see vm/machine/zero_fill.h */
	bool works_ahead;            /* see mm/pgm/pgm_ahead.c */
};

/*
 * Later words win. Q_INVALID: an unknown word or a bad value, which `error` names;
 * the words before it have taken effect.
 */
q_status_t cmdline_parse(const char *text, struct error_text *error) Q_MUST_USE;
const struct options *options(void);

#endif

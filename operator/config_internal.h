/* SPDX-License-Identifier: MIT */
/* Values as both parts of the parser read them; results are stored only on Q_OK. */
#ifndef OPERATOR_CONFIG_INTERNAL_H
#define OPERATOR_CONFIG_INTERNAL_H

#include <quire/status.h>

/* "off", "on", NULL: for config_bool_parse(). */
extern const char *const config_words_switch[];

/* Which of the words, of which NULL is the last. */
q_status_t config_word_parse(const char *value, const char *const *words,
			     unsigned *out_index) Q_MUST_USE;
/* The second of two words is true. */
q_status_t config_bool_parse(const char *value, const char *const *words,
			     bool *out_value) Q_MUST_USE;
/* 1 to `max`. */
q_status_t config_count_parse(const char *value, unsigned max, unsigned *out_count) Q_MUST_USE;
/* The name of a VM or group, into VM_NAME_BYTES. */
q_status_t config_name_parse(const char *value, char *to) Q_MUST_USE;

#endif

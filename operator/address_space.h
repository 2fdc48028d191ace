/* SPDX-License-Identifier: MIT */
/*
 * Checks Quire's own page tables: guest memory is mapped through the windows of the mapping cache,
 * and nowhere else.
 */
#ifndef OPERATOR_ADDRESS_SPACE_H
#define OPERATOR_ADDRESS_SPACE_H

#include "arch/x86_64/paging_rules.h"

/* True if GMM uses these bytes of machine memory for what a mapping of that kind may lead to. */
bool address_space_allows(enum paging_kind kind, hpa_t start, uint64_t size_bytes);

/* Asserts that for every mapping that is present. No lock held. */
void address_space_check(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The page-table dump: proves that guest memory is mapped in Quire's own address
 * space through the mapping cache's windows, and nowhere else.
 */
#ifndef OPERATOR_ADDRESS_SPACE_H
#define OPERATOR_ADDRESS_SPACE_H

#include "arch/x86_64/paging_rules.h"

/* Whether a mapping of that kind may lead there, as far as GMM's books tell. */
bool address_space_allows(enum paging_kind kind, hpa_t start, uint64_t size_bytes);

/* Asserts that of every mapping there is. */
void address_space_check(void);

#endif

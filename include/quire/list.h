/* SPDX-License-Identifier: MIT */
/*
 * Intrusive doubly linked circular list. The head is a node that no object
 * contains; an unlinked node points to itself. Users wrap it in typed functions.
 */
#ifndef INCLUDE_QUIRE_LIST_H
#define INCLUDE_QUIRE_LIST_H

#include <quire/compiler.h>

struct list_node {
	struct list_node *next;
	struct list_node *prev;
};

static inline void list_init(struct list_node *node)
{
	node->next = node;
	node->prev = node;
}

static inline bool list_is_empty(const struct list_node *head)
{
	return head->next == head;
}

static inline void list_insert_after(struct list_node *where, struct list_node *node)
{
	node->next = where->next;
	node->prev = where;
	where->next->prev = node;
	where->next = node;
}

static inline void list_add_head(struct list_node *head, struct list_node *node)
{
	list_insert_after(head, node);
}

static inline void list_add_tail(struct list_node *head, struct list_node *node)
{
	list_insert_after(head->prev, node);
}

static inline void list_remove(struct list_node *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

#define list_entry(node, type, member) container_of(node, type, member)

/* The body must not remove `cursor`. */
#define list_for_each(cursor, head) \
	for (struct list_node *cursor = (head)->next; cursor != (head); cursor = cursor->next)

#endif

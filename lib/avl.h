/* SPDX-License-Identifier: MIT */
/*
 * Intrusive AVL tree with unsigned 64-bit keys, each key at most once.
 * O(log n) insert, remove and find; no allocation, no recursion. The caller
 * serialises.
 */
#ifndef LIB_AVL_H
#define LIB_AVL_H

#include <quire/compiler.h>

struct avl_node {
	struct avl_node *left, *right;
	uint64_t key;
	int height; /* of this node's subtree; a leaf has 1 */
};

struct avl_tree {
	struct avl_node *root;
	size_t count;
};

void avl_init(struct avl_tree *tree);
/* False: the tree has the key already, and nothing changed. */
bool avl_insert(struct avl_tree *tree, struct avl_node *node, uint64_t key);
/* Returns the removed node, or NULL. */
struct avl_node *avl_remove(struct avl_tree *tree, uint64_t key);
struct avl_node *avl_find(const struct avl_tree *tree, uint64_t key);
/* For iteration: the node with the smallest key that is not below `key`, or NULL. */
struct avl_node *avl_find_from(const struct avl_tree *tree, uint64_t key);
/* Asserts order, balance, heights and count. */
void avl_check(const struct avl_tree *tree);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * AVL tree: the heights of a node's two subtrees differ by at most one, so a
 * tree of all 2^64 keys is at most 92 levels high. Nodes have no parent pointer.
 * Insert and remove remember the links that they follow, and rebalance along
 * them from the bottom up until a subtree has the height that it had before.
 */
#include "lib/avl.h"

#include <quire/assert.h>

#define AVL_HEIGHT_MAX 96u

/* The links that a change has followed from the root: *link[i] is an ancestor of *link[i + 1]. */
struct avl_path {
	struct avl_node **link[AVL_HEIGHT_MAX];
	unsigned depth;
};

static void path_push(struct avl_path *path, struct avl_node **link)
{
	Q_ASSERT(path->depth < AVL_HEIGHT_MAX);
	path->link[path->depth++] = link;
}

static int height_of(const struct avl_node *node)
{
	return node ? node->height : 0;
}

static void height_update(struct avl_node *node)
{
	int left = height_of(node->left);
	int right = height_of(node->right);
	node->height = 1 + (left > right ? left : right);
}

static struct avl_node *rotate_right(struct avl_node *top)
{
	struct avl_node *left = top->left;
	top->left = left->right;
	left->right = top;
	height_update(top);
	height_update(left);
	return left;
}

static struct avl_node *rotate_left(struct avl_node *top)
{
	struct avl_node *right = top->right;
	top->right = right->left;
	right->left = top;
	height_update(top);
	height_update(right);
	return right;
}

/* Rebalances a subtree whose two sides differ by at most two, and returns its new root. */
static struct avl_node *balance(struct avl_node *node)
{
	int lean = height_of(node->left) - height_of(node->right);

	if (lean > 1) {
		if (height_of(node->left->left) < height_of(node->left->right))
			node->left = rotate_left(node->left);
		return rotate_right(node);
	}
	if (lean < -1) {
		if (height_of(node->right->right) < height_of(node->right->left))
			node->right = rotate_right(node->right);
		return rotate_left(node);
	}
	height_update(node);
	return node;
}

static void path_mend(struct avl_path *path)
{
	while (path->depth > 0) {
		struct avl_node **link = path->link[--path->depth];
		int height_before = (*link)->height;
		*link = balance(*link);
		if ((*link)->height == height_before)
			return;
	}
}

void avl_init(struct avl_tree *tree)
{
	tree->root = NULL;
	tree->count = 0;
}

bool avl_insert(struct avl_tree *tree, struct avl_node *node, uint64_t key)
{
	struct avl_path path = { .depth = 0 };
	struct avl_node **link = &tree->root;

	while (*link) {
		if ((*link)->key == key)
			return false;
		path_push(&path, link);
		link = key < (*link)->key ? &(*link)->left : &(*link)->right;
	}
	*node = (struct avl_node){ .key = key, .height = 1 };
	*link = node;
	tree->count++;
	path_mend(&path);
	return true;
}

/* Puts the node with the next larger key in the place of *link, which has two children. */
static void replace_by_successor(struct avl_path *path, struct avl_node **link)
{
	struct avl_node *node = *link;
	path_push(path, link);
	unsigned below = path->depth;
	struct avl_node **lowest = &node->right;
	while ((*lowest)->left) {
		path_push(path, lowest);
		lowest = &(*lowest)->left;
	}
	struct avl_node *successor = *lowest;
	*lowest = successor->right;
	successor->left = node->left;
	successor->right = node->right;
	successor->height = node->height;
	*link = successor;
	/* The first link below *link was inside the node that leaves. */
	if (path->depth > below)
		path->link[below] = &successor->right;
}

struct avl_node *avl_remove(struct avl_tree *tree, uint64_t key)
{
	struct avl_path path = { .depth = 0 };
	struct avl_node **link = &tree->root;

	while (*link && (*link)->key != key) {
		path_push(&path, link);
		link = key < (*link)->key ? &(*link)->left : &(*link)->right;
	}
	struct avl_node *node = *link;
	if (!node)
		return NULL;
	if (node->left && node->right)
		replace_by_successor(&path, link);
	else
		*link = node->left ? node->left : node->right;
	tree->count--;
	path_mend(&path);
	node->left = NULL;
	node->right = NULL;
	return node;
}

struct avl_node *avl_find(const struct avl_tree *tree, uint64_t key)
{
	struct avl_node *node = tree->root;

	while (node && node->key != key)
		node = key < node->key ? node->left : node->right;
	return node;
}

struct avl_node *avl_find_from(const struct avl_tree *tree, uint64_t key)
{
	struct avl_node *node = tree->root;
	struct avl_node *found = NULL;

	while (node && node->key != key) {
		if (node->key > key)
			found = node;
		node = key < node->key ? node->left : node->right;
	}
	return node ? node : found;
}

/* A subtree that is still to be checked, and the range of keys that it may hold. */
struct avl_span {
	const struct avl_node *node;
	uint64_t first, last;
};

static void node_check(const struct avl_span *span)
{
	const struct avl_node *node = span->node;
	int left = height_of(node->left);
	int right = height_of(node->right);

	Q_ASSERT(node->key >= span->first && node->key <= span->last);
	Q_ASSERT(left - right <= 1 && right - left <= 1);
	Q_ASSERT(node->height == 1 + (left > right ? left : right));
	/* If the key is at an end of the span, no key is left for a child on that side. */
	Q_ASSERT(!node->left || node->key > span->first);
	Q_ASSERT(!node->right || node->key < span->last);
}

void avl_check(const struct avl_tree *tree)
{
	struct avl_span stack[AVL_HEIGHT_MAX];
	unsigned depth = 0;
	size_t visited = 0;

	if (tree->root)
		stack[depth++] = (struct avl_span){ tree->root, 0, UINT64_MAX };
	while (depth > 0) {
		struct avl_span span = stack[--depth];
		node_check(&span);
		/* This also ends the walk if a broken tree contains a cycle. */
		Q_ASSERT(++visited <= tree->count);
		Q_ASSERT(depth + 2 <= AVL_HEIGHT_MAX);
		const struct avl_node *node = span.node;
		if (node->left)
			stack[depth++] = (struct avl_span){ node->left, span.first, node->key - 1 };
		if (node->right)
			stack[depth++] = (struct avl_span){ node->right, node->key + 1, span.last };
	}
	Q_ASSERT(visited == tree->count);
}

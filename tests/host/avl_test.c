/* SPDX-License-Identifier: MIT */
/* The AVL tree. */
#include <stdbool.h>
#include <string.h>

#include <quire/bits.h>

#include "lib/avl.h"

#include "test.h"

static uint32_t random_state;

static uint32_t random_below(uint32_t limit)
{
	random_state = random_state * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)(random_state >> 8) * limit >> 24);
}

#define AVL_KEYS 2000u

static struct avl_node nodes[AVL_KEYS];

TEST(avl, ascending_and_descending_keys)
{
	struct avl_tree tree;

	avl_init(&tree);
	avl_check(&tree);
	for (unsigned i = 0; i < AVL_KEYS / 2; i++)
		EXPECT(avl_insert(&tree, &nodes[i], i));
	for (unsigned i = AVL_KEYS - 1; i >= AVL_KEYS / 2; i--)
		EXPECT(avl_insert(&tree, &nodes[i], i));
	avl_check(&tree);
	EXPECT(tree.count == AVL_KEYS && tree.root->height <= 15);
	for (unsigned i = 0; i < AVL_KEYS; i++)
		EXPECT(avl_find(&tree, i) == &nodes[i]);
	for (unsigned i = 0; i < AVL_KEYS; i++) {
		EXPECT(avl_remove(&tree, i) == &nodes[i]);
		avl_check(&tree);
	}
	EXPECT(tree.root == NULL && tree.count == 0);
}

TEST(avl, extreme_keys_and_second_inserts)
{
	struct avl_tree tree;
	struct avl_node low, middle, high, extra;

	avl_init(&tree);
	EXPECT(avl_insert(&tree, &high, UINT64_MAX));
	EXPECT(avl_insert(&tree, &low, 0));
	EXPECT(avl_insert(&tree, &middle, BIT64(63)));
	avl_check(&tree);
	EXPECT(!avl_insert(&tree, &extra, 0));
	EXPECT(!avl_insert(&tree, &extra, UINT64_MAX));
	EXPECT(tree.count == 3 && avl_find(&tree, 0) == &low);
	EXPECT(avl_find(&tree, UINT64_MAX) == &high);
	EXPECT(avl_find(&tree, 1) == NULL && avl_remove(&tree, 1) == NULL);
	EXPECT(avl_find_from(&tree, 0) == &low);
	EXPECT(avl_find_from(&tree, 1) == &middle);
	EXPECT(avl_find_from(&tree, BIT64(63) + 1) == &high);
	EXPECT(avl_remove(&tree, UINT64_MAX) == &high);
	EXPECT(avl_find_from(&tree, BIT64(63) + 1) == NULL);
	avl_check(&tree);
}

/* Compares the tree with a plain array that says which keys are in it. */
TEST(avl, random_inserts_and_removes)
{
	static bool is_in[AVL_KEYS];
	struct avl_tree tree;
	size_t count = 0;

	avl_init(&tree);
	memset(is_in, 0, sizeof(is_in));
	random_state = 1;
	for (unsigned step = 0; step < 20000; step++) {
		unsigned key = random_below(AVL_KEYS);
		/* Mostly full, then mostly empty, and back. */
		bool is_insert = random_below(8) < (step / 4000 % 2 ? 2u : 6u);
		if (is_insert)
			EXPECT(avl_insert(&tree,
					  is_in[key] ? &(struct avl_node){ .key = 0 } : &nodes[key],
					  key) == !is_in[key]);
		else
			EXPECT(avl_remove(&tree, key) == (is_in[key] ? &nodes[key] : NULL));
		count += is_insert && !is_in[key];
		count -= !is_insert && is_in[key];
		is_in[key] = is_insert;
		EXPECT(tree.count == count);
		if (step % 50 == 0)
			avl_check(&tree);
	}
	unsigned next = 0;
	for (struct avl_node *node = avl_find_from(&tree, 0); node;
	     node = avl_find_from(&tree, node->key + 1)) {
		while (!is_in[next])
			next++;
		EXPECT(node == &nodes[next]);
		next++;
		count--;
	}
	EXPECT(count == 0);
}

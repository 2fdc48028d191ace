/* SPDX-License-Identifier: MIT */
#include "fake_heap.h"

#include <stdlib.h>
#include <string.h>

#include <quire/assert.h>

#include "kernel/heap.h"

enum kind { OBJECT, PAGES };

struct block {
	struct block *next;
	void *start;
	size_t size_bytes;
	enum kind kind;
};

static struct block *blocks;
static unsigned fail_at;

static void *block_alloc(enum kind kind, size_t size_bytes, size_t alignment)
{
	Q_ASSERT(size_bytes > 0);
	if (fail_at && --fail_at == 0)
		return NULL;
	struct block *block = malloc(sizeof(*block));
	Q_ASSERT(block);
	*block = (struct block){ .next = blocks, .size_bytes = size_bytes, .kind = kind };
	int error = posix_memalign(&block->start, alignment, size_bytes);
	Q_ASSERT(error == 0);
	memset(block->start, 0, size_bytes);
	blocks = block;
	return block->start;
}

static void block_free(enum kind kind, const void *start, size_t size_bytes)
{
	struct block **link = &blocks;
	if (!start)
		return;
	while (*link && (*link)->start != start)
		link = &(*link)->next;
	struct block *block = *link;
	Q_ASSERT(block && block->kind == kind && block->size_bytes == size_bytes);
	*link = block->next;
	free(block->start);
	free(block);
}

void *heap_alloc(size_t size_bytes)
{
	size_t alignment = sizeof(void *);
	Q_ASSERT(size_bytes <= PAGE_SIZE);
	while (alignment < size_bytes)
		alignment *= 2;
	return block_alloc(OBJECT, size_bytes, alignment > 1024 ? PAGE_SIZE : alignment);
}

void heap_free(void *object, size_t size_bytes)
{
	block_free(OBJECT, object, size_bytes);
}

void *pages_alloc(unsigned page_count)
{
	return block_alloc(PAGES, page_count * PAGE_SIZE, PAGE_SIZE);
}

void pages_free(void *start, unsigned page_count)
{
	block_free(PAGES, start, page_count * PAGE_SIZE);
}

uint64_t heap_bytes_used(void)
{
	uint64_t size_bytes = 0;
	for (const struct block *block = blocks; block; block = block->next)
		size_bytes += block->size_bytes;
	return size_bytes;
}

unsigned fake_heap_blocks(void)
{
	unsigned count = 0;
	for (const struct block *block = blocks; block; block = block->next)
		count++;
	return count;
}

void fake_heap_fail_at(unsigned count)
{
	fail_at = count;
}

void fake_heap_clear(void)
{
	fail_at = 0;
	while (blocks)
		block_free(blocks->kind, blocks->start, blocks->size_bytes);
}

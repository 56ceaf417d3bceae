#include "base/mask_set.h"

#include "base/mask_forms.h"

_Static_assert(MASK_VALUE_MIN_BYTES >= 3 && MASK_FORM_MIN_BYTES >= 3, "a head has three bytes");

#define HEAD_MAX_BYTES 4

struct mask_set *mask_set_new(void)
{
	struct mask_set *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	atomic_init(&s->references, 1);
	s->cap = 256;
	s->shortest = SIZE_MAX;
	s->nodes = calloc(s->cap, sizeof(*s->nodes));
	s->count = 1;
	if (!s->nodes) {
		free(s);
		return NULL;
	}
	return s;
}

struct mask_set *mask_set_ref(struct mask_set *s)
{
	atomic_fetch_add(&s->references, 1);
	return s;
}

size_t mask_set_bytes(const struct mask_set *s)
{
	return sizeof(*s) + s->cap * sizeof(*s->nodes) + (s->heads ? (s->head_mask + 1) * sizeof(*s->heads) : 0);
}

void mask_set_free(struct mask_set *s)
{
	if (!s || atomic_fetch_sub(&s->references, 1) > 1)
		return;
	/* The trie spells the secrets out. */
	explicit_bzero(s->nodes, s->count * sizeof(*s->nodes));
	free(s->nodes);
	free(s->heads);
	free(s);
}

static inline int32_t child_of(const struct mask_set *s, int32_t at, unsigned char byte)
{
	if (at == 0)
		return s->root[byte];
	int32_t c = s->nodes[at].child;
	while (c && s->nodes[c].byte != byte)
		c = s->nodes[c].sibling;
	return c;
}

static int add_node(struct mask_set *s, int32_t parent, unsigned char byte, int32_t *ret, struct err *e)
{
	if (s->count >= MASK_PATTERN_BYTES_MAX)
		return err_set(e, ERR_TOO_LARGE, "the secrets of this deployment are too large to mask");
	if (s->count == s->cap) {
		struct mask_node *more = malloc(s->cap * 2 * sizeof(*more));
		if (!more)
			return err_nomem(e);
		memcpy(more, s->nodes, s->count * sizeof(*more));
		explicit_bzero(s->nodes, s->count * sizeof(*more));
		free(s->nodes);
		s->nodes = more;
		s->cap *= 2;
	}
	int32_t n = (int32_t)s->count++;
	s->nodes[n] = (struct mask_node){ .byte = byte, .depth = s->nodes[parent].depth + 1 };
	if (parent == 0) {
		s->root[byte] = n;
	} else {
		s->nodes[n].sibling = s->nodes[parent].child;
		s->nodes[parent].child = n;
	}
	*ret = n;
	return 0;
}

static int add_pattern(void *arg, struct str p, struct err *e)
{
	struct mask_set *s = arg;
	int32_t at = 0;
	BUG_ON(p.n < MASK_VALUE_MIN_BYTES);
	for (size_t i = 0; i < p.n; i++) {
		unsigned char byte = (unsigned char)p.p[i];
		int32_t next = child_of(s, at, byte);
		int r = next ? 0 : add_node(s, at, byte, &next, e);
		if (r < 0)
			return r;
		at = next;
	}
	s->nodes[at].match = s->nodes[at].depth;
	s->shortest = p.n < s->shortest ? p.n : s->shortest;
	return 0;
}

int mask_set_add(struct mask_set *s, struct str value, struct err *e)
{
	BUG_ON(s->built);
	if (value.n < MASK_VALUE_MIN_BYTES)
		return 0;
	int r = mask_forms(value, add_pattern, s, e);
	return r < 0 ? r : 1;
}

static inline int32_t step(const struct mask_set *s, int32_t at, unsigned char byte)
{
	for (;;) {
		int32_t next = child_of(s, at, byte);
		if (next || at == 0)
			return next;
		at = s->nodes[at].fail;
	}
}

static uint32_t head_hash(uint32_t bytes)
{
	return bytes * 0x9E3779B1u;
}

static int32_t head_find(const struct mask_set *s, uint32_t bytes)
{
	for (uint32_t i = head_hash(bytes) >> 7;; i++) {
		const struct mask_head *h = &s->heads[i & s->head_mask];
		if (h->node == 0 || h->bytes == bytes)
			return h->node;
	}
}

/* All heads that begin with `bytes`, which lead to node `at`. */
static void head_add(struct mask_set *s, int32_t at, uint32_t bytes)
{
	uint32_t depth = s->nodes[at].depth;
	if (depth < s->head_bytes) {
		for (int32_t c = s->nodes[at].child; c; c = s->nodes[c].sibling)
			head_add(s, c, bytes | (uint32_t)s->nodes[c].byte << 8 * depth);
		return;
	}
	uint32_t hash = head_hash(bytes), bit = hash >> (32 - MASK_HEAD_BITS), i = hash >> 7;
	s->bits[bit / 64] |= 1ull << bit % 64;
	while (s->heads[i & s->head_mask].node)
		i++;
	s->heads[i & s->head_mask] = (struct mask_head){ bytes, at };
}

static int make_heads(struct mask_set *s, struct err *e)
{
	size_t count = 0, size = 16;
	s->head_bytes = s->shortest < HEAD_MAX_BYTES ? (uint32_t)s->shortest : HEAD_MAX_BYTES;
	for (size_t i = 1; i < s->count; i++)
		count += s->nodes[i].depth == s->head_bytes;
	while (size < count * 2)
		size *= 2;
	s->heads = calloc(size, sizeof(*s->heads));
	if (!s->heads)
		return err_nomem(e);
	s->head_mask = (uint32_t)size - 1;
	for (uint32_t b = 0; b < 256; b++) {
		if (s->root[b])
			head_add(s, s->root[b], b);
	}
	return 0;
}

int mask_set_build(struct mask_set *s, struct err *e)
{
	int32_t *queue = malloc(s->count * sizeof(*queue));
	size_t head = 0, tail = 0;
	if (!queue)
		return err_nomem(e);
	for (int b = 0; b < 256; b++) {
		if (s->root[b])
			queue[tail++] = s->root[b];
	}
	/* Breadth first: a node's fail link leads to a shallower one, which is finished. */
	while (head < tail) {
		int32_t at = queue[head++];
		for (int32_t c = s->nodes[at].child; c; c = s->nodes[c].sibling) {
			s->nodes[c].fail = step(s, s->nodes[at].fail, s->nodes[c].byte);
			if (!s->nodes[c].match)
				s->nodes[c].match = s->nodes[s->nodes[c].fail].match;
			queue[tail++] = c;
		}
	}
	free(queue);
	s->built = true;
	return make_heads(s, e);
}

/* To behind the next head, whose node *ret is; or to where fewer than four bytes are left, *ret is 0 then. */
static inline size_t skip(const struct mask_set *s, const unsigned char *p, size_t at, size_t n, int32_t *ret)
{
	const uint32_t keep = s->head_bytes == 4 ? UINT32_MAX : 0xFFFFFF;
	for (; n - at >= 4; at++) {
		uint32_t four;
		memcpy(&four, p + at, sizeof(four));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
		four = __builtin_bswap32(four);
#endif
		uint32_t bit = head_hash(four & keep) >> (32 - MASK_HEAD_BITS);
		if (s->bits[bit / 64] >> bit % 64 & 1 && (*ret = head_find(s, four & keep)) != 0)
			return at + s->head_bytes;
	}
	*ret = 0;
	return at;
}

size_t mask_set_scan(const struct mask_set *s, const unsigned char *p, size_t at, size_t n, int32_t *state,
		     uint32_t *ret_match)
{
	int32_t now = *state;
	uint32_t match = 0;
	while (at < n && !match) {
		uint32_t depth = s->nodes[now].depth;
		/* Nothing that began before these few bytes is a beginning any more, and no pattern is as short. */
		if (depth < s->head_bytes && n - at >= 4)
			at = skip(s, p, at - depth, n, &now);
		else
			now = step(s, now, p[at++]);
		match = s->nodes[now].match;
	}
	*state = now;
	*ret_match = match;
	return at;
}

#include "deploy/listing.h"

#include "base/limits.h"
#include "db/queries_listing.h"

#define BUCKET 1000 /* of the schema */

/* --- counts --- */

int counts_added(struct db_conn *c, const char *deployment_id, const char *status, struct err *e)
{
	struct counts_change_in in = { .id = deployment_id, .status = status, .change = 1 };
	int rc = q_counts_change(c, &in, e);
	return rc < 0 ? rc : 0;
}

int counts_moved(struct db_conn *c, const char *deployment_id, const char *from, const char *to, struct err *e)
{
	struct counts_change_in in = { .id = deployment_id, .status = from, .change = -1 };
	int rc = q_counts_change(c, &in, e);
	return rc < 0 ? rc : counts_added(c, deployment_id, to, e);
}

int counts_stack_removed(struct db_conn *c, const char *stack_id, struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	struct counts_of_stack_row *rows;
	size_t count;
	int rc = q_counts_of_stack(c, &a, &(struct counts_of_stack_in){ .stack_id = stack_id }, &rows, &count, e);
	for (size_t i = 0; rc >= 0 && i < count; i++) {
		struct counts_take_in in = { rows[i].org_id, rows[i].bucket, rows[i].status, rows[i].n };
		rc = q_counts_take(c, &in, e);
	}
	return rc < 0 ? rc : 0;
}

static void add_count(int64_t ret[DEPLOYMENT_STATUS_COUNT], const char *status, int64_t n)
{
	enum deployment_status s = deployment_status_parse(status);
	if (s < DEPLOYMENT_STATUS_COUNT)
		ret[s] += n;
}

int listing_status_counts(struct db_conn *c, struct arena *a, const char *org_id, const char *reader_id,
			  int64_t ret[DEPLOYMENT_STATUS_COUNT], struct err *e)
{
	struct listing_split_row split = { 0 };
	struct listing_counts_of_in of = { .org_id = org_id, .reader_id = reader_id };
	struct listing_counts_of_row *some;
	struct listing_counts_row *all;
	size_t count;
	int rc = 0;
	memset(ret, 0, DEPLOYMENT_STATUS_COUNT * sizeof(*ret));
	if (reader_id)
		rc = q_listing_split(c, a, &(struct listing_split_in){ org_id, reader_id }, &split, e);
	of.hidden = split.hidden <= split.readable;
	if (rc >= 0 && of.hidden) {
		rc = q_listing_counts(c, a, &(struct listing_counts_in){ org_id }, &all, &count, e);
		for (size_t i = 0; rc >= 0 && i < count; i++)
			add_count(ret, all[i].status, all[i].n);
	}
	if (rc < 0 || !reader_id)
		return rc;
	rc = q_listing_counts_of(c, a, &of, &some, &count, e);
	for (size_t i = 0; rc >= 0 && i < count; i++)
		add_count(ret, some[i].status, of.hidden ? -some[i].n : some[i].n);
	return rc;
}

/* --- pages --- */

struct paging {
	struct db_conn *c;
	struct arena *a;
	const struct listing *l;
	const char **ids;
	size_t count;
	int64_t total;
	int64_t skip, n; /* what the page has, from the newest on */
	struct listing_buckets_row *buckets;
	size_t bucket_count;
};

/* What is hidden is taken away from the counts; when that is most of it, what is not is counted. */
static int readable_buckets(struct paging *p, struct err *e)
{
	const struct listing *l = p->l;
	struct listing_split_row split = { 0 };
	struct listing_buckets_of_in in = { .org_id = l->org_id, .reader_id = l->reader_id, .status = l->status };
	struct listing_buckets_of_row *rows;
	size_t count, at = 0;
	int rc = q_listing_split(p->c, p->a, &(struct listing_split_in){ l->org_id, l->reader_id }, &split, e);
	if (rc < 0)
		return rc;
	in.hidden = split.hidden <= split.readable;
	rc = q_listing_buckets_of(p->c, p->a, &in, &rows, &count, e);
	if (rc < 0)
		return rc;
	if (in.hidden) {
		/* Both go from the newest on, and what is hidden is counted among all. */
		for (size_t i = 0; i < p->bucket_count && at < count; i++)
			if (p->buckets[i].bucket == rows[at].bucket)
				p->buckets[i].n -= rows[at++].n;
		return 0;
	}
	p->buckets = arena_array(p->a, count, sizeof(*p->buckets));
	if (!p->buckets)
		return err_nomem(e);
	p->bucket_count = count;
	for (size_t i = 0; i < count; i++)
		p->buckets[i] = (struct listing_buckets_row){ rows[i].bucket, rows[i].n };
	return 0;
}

static int count_all(struct paging *p, struct err *e)
{
	const struct listing *l = p->l;
	int rc;
	p->total = 0;
	if (l->stack_id) {
		struct listing_stack_count_row row;
		rc = q_listing_stack_count(p->c, p->a, &(struct listing_stack_count_in){ l->stack_id, l->status }, &row,
					   e);
		p->total = rc > 0 ? row.n : 0;
		return rc < 0 ? rc : 0;
	}
	struct listing_buckets_in in = { l->org_id, l->status };
	rc = q_listing_buckets(p->c, p->a, &in, &p->buckets, &p->bucket_count, e);
	if (rc >= 0 && l->reader_id)
		rc = readable_buckets(p, e);
	for (size_t i = 0; rc >= 0 && i < p->bucket_count; i++)
		p->total += p->buckets[i].n;
	return rc < 0 ? rc : 0;
}

static int of_stack(struct paging *p, struct err *e)
{
	struct listing_stack_in in = { p->l->stack_id, p->l->status, p->skip, p->n };
	struct listing_stack_row *rows;
	int rc = q_listing_stack(p->c, p->a, &in, &rows, &p->count, e);
	for (size_t i = 0; rc >= 0 && i < p->count; i++)
		p->ids[i] = rows[i].id;
	return rc;
}

static int of_reader(struct paging *p, int64_t below, int64_t skip, struct err *e)
{
	const struct listing *l = p->l;
	struct listing_readable_in in = { l->org_id, l->reader_id, l->status, below, skip, p->n };
	struct listing_readable_row *rows;
	int rc = q_listing_readable(p->c, p->a, &in, &rows, &p->count, e);
	for (size_t i = 0; rc >= 0 && i < p->count; i++)
		p->ids[i] = rows[i].id;
	return rc;
}

/* The bucket in which the page begins is found by the counts; within it there are at most a thousand to skip. */
static int of_org(struct paging *p, struct err *e)
{
	const struct listing *l = p->l;
	int64_t skip = p->skip;
	size_t b = 0;
	while (b < p->bucket_count && skip >= p->buckets[b].n)
		skip -= p->buckets[b++].n;
	if (b == p->bucket_count)
		return 0;
	int64_t below = (p->buckets[b].bucket + 1) * BUCKET;
	int rc;
	if (l->reader_id)
		return of_reader(p, below, skip, e);
	if (l->status) {
		struct listing_org_status_in in = { l->org_id, l->status, below, skip, p->n };
		struct listing_org_status_row *rows;
		rc = q_listing_org_status(p->c, p->a, &in, &rows, &p->count, e);
		for (size_t i = 0; rc >= 0 && i < p->count; i++)
			p->ids[i] = rows[i].id;
	} else {
		struct listing_org_in in = { l->org_id, below, skip, p->n };
		struct listing_org_row *rows;
		rc = q_listing_org(p->c, p->a, &in, &rows, &p->count, e);
		for (size_t i = 0; rc >= 0 && i < p->count; i++)
			p->ids[i] = rows[i].id;
	}
	return rc;
}

static void reverse(const char **ids, size_t count)
{
	for (size_t i = 0; i < count / 2; i++) {
		const char *other = ids[count - 1 - i];
		ids[count - 1 - i] = ids[i];
		ids[i] = other;
	}
}

int listing_page(struct db_conn *c, struct arena *a, const struct listing *l, const char **ids, size_t *ret_count,
		 int64_t *ret_total, struct err *e)
{
	struct paging p = { .c = c, .a = a, .l = l, .ids = ids };
	BUG_ON(l->page < 1 || l->page_size < 1 || l->page_size > LISTING_PAGE_MAX);
	int rc = count_all(&p, e);
	if (rc < 0)
		return rc;
	/* The statements go from the newest on; an ascending page is the same rows read from the other end. */
	int64_t first = (l->page - 1) * l->page_size;
	if (first < p.total) {
		p.n = p.total - first < l->page_size ? p.total - first : l->page_size;
		p.skip = l->ascending ? p.total - first - p.n : first;
		rc = l->stack_id ? of_stack(&p, e) : of_org(&p, e);
	}
	if (rc < 0)
		return rc;
	if (l->ascending)
		reverse(ids, p.count);
	*ret_count = p.count;
	*ret_total = p.total;
	return 0;
}

/*
 * listing.h: pages of deployments, and how many there are. Of a whole organization both come from the counts of buckets
 * (sql/migrations/0018_lists.sql): any page of any size of list is found at once. Where something is hidden from whoever
 * asks, the rows of what is hidden are counted, or those of what is not, whichever are fewer stacks.
 */
#ifndef SLIPWAY_DEPLOY_LISTING_H
#define SLIPWAY_DEPLOY_LISTING_H

#include "deploy/deployment.h"

#define LISTING_PAGE_MAX 100

struct listing {
	const char *org_id;
	const char *reader_id;	 /* of the organization's: whose stacks; NULL: all */
	const char *stack_id;	 /* NULL: the whole organization */
	const char *status;	 /* NULL: any */
	int64_t page, page_size; /* from 1 on; at most LISTING_PAGE_MAX */
	bool ascending;		 /* oldest first */
};

/* Inside of a transaction. ids: room for a page. */
int listing_page(struct db_conn *c, struct arena *a, const struct listing *l, const char **ids, size_t *ret_count,
		 int64_t *ret_total, struct err *e);

/* Inside of a transaction: how many there are of each status in the organization. reader_id as above. */
int listing_status_counts(struct db_conn *c, struct arena *a, const char *org_id, const char *reader_id,
			  int64_t ret[DEPLOYMENT_STATUS_COUNT], struct err *e);

/* --- the counts; each inside of the transaction that changes the rows --- */
int counts_added(struct db_conn *c, const char *deployment_id, const char *status, struct err *e);
int counts_moved(struct db_conn *c, const char *deployment_id, const char *from, const char *to, struct err *e);
/* Before the stack's deployments are removed with it. */
int counts_stack_removed(struct db_conn *c, const char *stack_id, struct err *e);

#endif

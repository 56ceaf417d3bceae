/*
 * page.h: plain HTML pages made by the server: no script, one style, everything that is not ours escaped.
 *
 * A page is begun with its title, filled through `b` and ended, which sets body and headers of the response. The policy
 * that goes with it allows nothing but the page's own style (by its hash) and forms to this server.
 */
#ifndef SLIPWAY_CONSOLE_PAGE_H
#define SLIPWAY_CONSOLE_PAGE_H

#include "http/http.h"
#include "identity/app.h"

struct page {
	struct request *r;
	struct response *w;
	struct buf b;
};

/* user NULL: not signed in. refresh_s 0: the page does not load itself again. */
void page_begin(struct page *p, struct request *r, struct response *w, const char *title, const char *user,
		int refresh_s);
/* Always once after page_begin: releases the buffer. */
int page_end(struct page *p, int status, struct err *e);

/* Markup of ours. */
void page_add(struct page *p, const char *html);
/* Text of others. */
void page_text(struct page *p, const char *text);
/* Log text: escaped, ANSI colours as spans, every other control sequence left out. */
void page_log(struct page *p, struct str text);

void page_status(struct page *p, const char *status);
/* One row of a list of facts; nothing for an empty value. */
void page_fact(struct page *p, const char *name, const char *value);
/* "2026-11-21 07:35:49 UTC"; nothing for DB_NULL_INT. */
void page_fact_time(struct page *p, const char *name, int64_t us);
/* "1 min 5 s" */
const char *page_duration(struct arena *a, int64_t us);
/* href of a path made of segments, each escaped: "/acme/shop/prod/deployments/3". NULL ends the list. */
void page_href(struct page *p, const char *segment, ...) __attribute__((sentinel));

/* Whole pages. */
int page_not_found(struct request *r, struct response *w, const char *user, struct err *e);
/* `to`: where to go afterwards, a path of this server. */
int page_sign_in(struct request *r, struct response *w, const char *to, const char *problem, struct err *e);

#endif

// The functions of a panel's width in vectors, wgrad4, wgrad2 and wgrad1, of the
// macros WGRAD_PANEL and WGRAD_REST of the file that includes this one: what is
// left of the rows takes the tiles that a full one is larger than.
#define WGRAD_MORE
#if GEMM_VECTORS == 4
WGRAD_PANEL(wgrad4, 4)
#endif
#if GEMM_ROWS == 8
#undef WGRAD_MORE
#define WGRAD_MORE WGRAD_REST(6) WGRAD_REST(7)
#endif
WGRAD_PANEL(wgrad2, 2)
#undef WGRAD_MORE
#define WGRAD_MORE WGRAD_REST(6) WGRAD_REST(7) WGRAD_REST(8)
WGRAD_PANEL(wgrad1, 1)
#undef WGRAD_MORE

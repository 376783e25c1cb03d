/* B4. Ten lines that find the installed library through pkg-config; .ci/run builds them shared and static. */
#include <offlinetok/offlinetok.h>
#include <stdio.h>

int main(void)
{
    otok_error err;
    otok_store *store = NULL;
    int rc = otok_store_open_memory(&store, &err);
    printf("memory store: %d\n", rc);
    otok_store_close(store);
    return rc == 0 ? 0 : 1;
}

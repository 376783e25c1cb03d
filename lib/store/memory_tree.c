/*
 * memory_tree.c - a weight-balanced tree: the sizes of subtrees that count and rank need are also what balances it.
 *
 * Weights 3 and 2: Hirai and Yamamoto, Balancing weight-balanced trees, Journal of Functional Programming 21 (2011).
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/store.h"

#include <string.h>

enum { DELTA = 3, GAMMA = 2 };

static int compare_i64(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int compare(const otok_tree_key *a, const otok_tree_key *b)
{
    int c = compare_i64(a->index.index, b->index.index);
    if (c == 0)
        c = memcmp(a->index.digest, b->index.digest, sizeof a->index.digest);
    if (c == 0)
        c = compare_i64(a->order_us, b->order_us);
    return c != 0 ? c : otok_id_compare(&a->id, &b->id);
}

static size_t size_of(const otok_tree_node *node)
{
    return node != NULL ? node->size : 0;
}

static size_t weight_of(const otok_tree_node *node)
{
    return size_of(node) + 1;
}

static void resize(otok_tree_node *node)
{
    node->size = size_of(node->left) + 1 + size_of(node->right);
}

static void rotate_left(otok_tree_node **root)
{
    otok_tree_node *down = *root, *up = down->right;
    if (up == NULL) /* never: it is the heavier side */
        return;
    down->right = up->left;
    up->left = down;
    *root = up;
    resize(down);
    resize(up);
}

static void rotate_right(otok_tree_node **root)
{
    otok_tree_node *down = *root, *up = down->left;
    if (up == NULL) /* never: it is the heavier side */
        return;
    down->left = up->right;
    up->right = down;
    *root = up;
    resize(down);
    resize(up);
}

static void balance(otok_tree_node **root)
{
    otok_tree_node *node = *root;
    resize(node);
    if (weight_of(node->right) > DELTA * weight_of(node->left)) {
        if (weight_of(node->right->left) >= GAMMA * weight_of(node->right->right))
            rotate_right(&node->right);
        rotate_left(root);
    } else if (weight_of(node->left) > DELTA * weight_of(node->right)) {
        if (weight_of(node->left->right) >= GAMMA * weight_of(node->left->left))
            rotate_left(&node->left);
        rotate_right(root);
    }
}

void otok_tree_insert(otok_tree_node **root, otok_tree_node *node)
{
    if (*root == NULL) {
        node->left = node->right = NULL;
        node->size = 1;
        *root = node;
        return;
    }
    otok_tree_insert(compare(&node->key, &(*root)->key) < 0 ? &(*root)->left : &(*root)->right, node);
    balance(root);
}

static otok_tree_node *remove_first(otok_tree_node **root)
{
    otok_tree_node *first = *root;
    if (first->left == NULL) {
        *root = first->right;
        return first;
    }
    first = remove_first(&first->left);
    balance(root);
    return first;
}

void otok_tree_remove(otok_tree_node **root, const otok_tree_key *key)
{
    otok_tree_node *node = *root;
    if (node == NULL)
        return;
    int c = compare(key, &node->key);
    if (c != 0) {
        otok_tree_remove(c < 0 ? &node->left : &node->right, key);
    } else if (node->right == NULL) {
        *root = node->left;
        return;
    } else {
        otok_tree_node *next = remove_first(&node->right);
        next->left = node->left;
        next->right = node->right;
        *root = next;
    }
    balance(root);
}

otok_tree_node *otok_tree_find(otok_tree_node *root, const otok_tree_key *key)
{
    int c;
    while (root != NULL && (c = compare(key, &root->key)) != 0)
        root = c < 0 ? root->left : root->right;
    return root;
}

otok_tree_node *otok_tree_at(otok_tree_node *root, size_t rank)
{
    while (rank != size_of(root->left)) {
        if (rank < size_of(root->left)) {
            root = root->left;
        } else {
            rank -= size_of(root->left) + 1;
            root = root->right;
        }
    }
    return root;
}

size_t otok_tree_rank(const otok_tree_node *root, const otok_tree_key *key, bool above)
{
    size_t rank = 0;
    while (root != NULL) {
        int c = compare(&root->key, key);
        if (c < 0 || (c == 0 && above)) {
            rank += size_of(root->left) + 1;
            root = root->right;
        } else {
            root = root->left;
        }
    }
    return rank;
}

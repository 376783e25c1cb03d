/*
 * vectors.h - keys and signatures with known answers.  None of them protects anything.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_VECTORS_H
#define TEST_VECTORS_H

/* RFC 7515, appendix A.2: an RSA key, as members of a JWK, and what it signed. */
#define VECTOR_RSA_PUBLIC                                                                                              \
    "\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPd"                  \
    "dxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2j"                             \
    "Z47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg6"                             \
    "65xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2et"                             \
    "hFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\""

#define VECTOR_RSA_PRIVATE                                                                                             \
    "\"d\":\"Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9"                          \
    "SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzu"                             \
    "bSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1ju"                             \
    "UO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1D"                             \
    "hOVRuOopznQ\",\"p\":\"4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1"                         \
    "l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgI"                             \
    "PgtldC-KDV5z-y2XDwGUc\",\"q\":\"uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZ"                         \
    "xaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTl"                             \
    "tRJ11BKBBypeeF6689rjcJIDEz9RWdc\",\"dp\":\"BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8u"                         \
    "zluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_Y"                             \
    "Vr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0\",\"dq\":\"h_96-mK1R_7glhsum81dZxjTnYynPbZpHz"                         \
    "iZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlx"                             \
    "Ar2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU\",\"qi\":\"IYd7DHOhrWvxkwPQsRM2tOg"                         \
    "rjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfn"                             \
    "bJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U\""

#define VECTOR_RS256_TEXT                                                                                              \
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGF"                             \
    "tcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

#define VECTOR_RS256_SIGNATURE                                                                                         \
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt"                             \
    "_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArL"                             \
    "IARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7no"                             \
    "OPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQ"                             \
    "Ge77Rw"

/* The same key and payload under PS256, computed from RFC 8017 section 9.1 with plain integers: salt 00 01 .. 1f; then
 * salts of 20 and of 0 bytes, and a mask made with SHA-1, none of which RFC 7518 section 3.5 allows. */
#define VECTOR_PS256_TEXT                                                                                              \
    "eyJhbGciOiJQUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGF"                             \
    "tcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

#define VECTOR_PS256_SIGNATURE                                                                                         \
    "SHdbwC2HD3805O3W0NLTalEJlZuhQQDQmdZmm4Sh4Bm-OtmSht6GLzIUjtIjkBv5Ey3E74e6f9G_OXO3g1UC"                             \
    "6W4jI4Xo6JmzK1wtY7YyQbDiiO9oVdfh5XFfX-i5NhZLD3ciP4x6tw7SiQuMXEfjCKKS8dbxqZsL0zU-OS4f"                             \
    "j1zCFwv9thlunPSmOfYzfW0eTGtSemOMmfjFt5W9GR05OMdF90HlUpvKwBh5NwDFLwRJ92jIl5XNgp0E1a9G"                             \
    "jFI-IyjeClmduHFKjmEF9UAPMHk8MrRzSaXngGKpagBnAGkBl1DR2JNN9-q5Zb4OhkeVPSYRW7HKeGdb1eT5"                             \
    "tmdmPg"

#define VECTOR_PS256_SIGNATURE_SALT_20                                                                                 \
    "Akj5sgQAvwFsaDh5J7Pjb0vC8prbA_36uQ7_X139tsO7ga1hvreAN0SQiv7uWjPcS0AMj4GpyTxuzq9myzxt"                             \
    "BikUt8DhWhX3QIjmeDQdAYYJtYTZuUFSRVtFE9ue_TpjN44GZWPk7NsuYbJKA8yeHxC1JmCaUPlyI6pzpr5M"                             \
    "Jc3hXDii15g_bJtQyGeGDuovGSt6qAoMfvvFJ2gceV32DvzZG0pNz89QbvtdaRcnfhe21dEA_J9Y4L9sGXFi"                             \
    "B9ajLMd1o1WzUuN9usgMwNfrnBq88ZZ_WuMZL3XYjGq_tfYPp1lr7fSr4M6chQM78p5R9hlDwpvLxYIj28M0"                             \
    "r2LXbg"

#define VECTOR_PS256_SIGNATURE_SALT_0                                                                                  \
    "cMDnon9-kWOmWl3ENxyEIYFFJYZTPzSZAh5spERaclkKwJmvwMMNUMCbdMAak1TUhOHX2HHV0ImU0QgH8_r8"                             \
    "sZKD_Ym2fIs6dyawyPikuwkHN5FPlTLqEIx0GdKYUiIb7lezAXraCkMp8QFBKdBOWZFl1QBolOc9ZbPDcx7y"                             \
    "GnGuXpJFdhvtmpxRQMMmti_YtxtYFtnynI8-tROWpUJY02C-wx_xmySr86Q9PYQ64BsNZLHrW9LErNqvSDE7"                             \
    "hd77ic8oRps8O2a3Sm1YizLj2jAXBktyainlOJgO0dcJz1X84nHJp7ySpc34rbN2LqbE8o2nVA7ZARiWPphE"                             \
    "IuqkYg"

#define VECTOR_PS256_SIGNATURE_MGF1_SHA1                                                                               \
    "JP-_dr2bDktCp3k41rJ0yJaWCys-ZybWaPyIJWdbg3vetJ-ZCmY9hgkuRUqbaZQsIWWzLFdADFLK2mbBDNp1"                             \
    "cBWfGzkw3q74EewbWmPzGZfqoRxWLnu-M6YHrhbI3ySlsXmwg25XVWbRPQUIlRxz1jK-kUnh2b5BQAOj2N1u"                             \
    "GWFANylx4SLS0SDOO-KZaaSQom6EQ3yTSNPZPwOs0vpRbD_tnwY4B7iDYFjEM0e8NYyWe4dW1OqndrfbGWnx"                             \
    "oKOQ9ZstsehshHB6SqAo9zSp389xZE0t1kUubtiycg1b5QGWrWcaIXRiJ5CFrJsV22TCZg_pmirloq5Y79DQ"                             \
    "hNjtdA"

/* RFC 7515, appendix A.3. */
#define VECTOR_EC_PUBLIC                                                                                               \
    "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FE"              \
    "zRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""

#define VECTOR_EC_PRIVATE "\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\""

#define VECTOR_ES256_TEXT                                                                                              \
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGF"                             \
    "tcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

#define VECTOR_ES256_SIGNATURE                                                                                         \
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU"                             \
    "1Q"

/* RFC 8037, appendices A.1 to A.4: the key, its thumbprint, and what it signed. */
#define VECTOR_ED_PUBLIC "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\""

#define VECTOR_ED_PRIVATE "\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\""

#define VECTOR_ED_THUMBPRINT   "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
#define VECTOR_EDDSA_TEXT      "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
#define VECTOR_EDDSA_SIGNATURE "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"

/* RFC 7638, section 3.1. */
#define VECTOR_7638_PUBLIC                                                                                             \
    "\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbf"                  \
    "AAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXA"                             \
    "rwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQ"                             \
    "vRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw"                             \
    "0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw\""

#define VECTOR_7638_THUMBPRINT "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"

#endif

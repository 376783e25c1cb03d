// What tests and their libraries expect of Node and Node 18 does not have yet, or has otherwise. Imported first.
// SPDX-License-Identifier: MIT

import dns from 'node:dns';
import { webcrypto } from 'node:crypto';

globalThis.crypto ??= webcrypto;
globalThis.CryptoKey ??= webcrypto.CryptoKey;
globalThis.CustomEvent ??= class CustomEvent extends Event {};

// The server listens at 127.0.0.1, and its issuer says localhost, which some systems know as ::1 first.
dns.setDefaultResultOrder('ipv4first');

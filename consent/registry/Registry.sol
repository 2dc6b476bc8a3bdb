// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice What the decision says: `Permit`, or the first of its rows that fails.
enum Outcome {
    Permit,
    Malformed,
    BrokenChain,
    NotAnchored,
    Revoked,
    Retired,
    NotYetValid,
    Expired,
    BadGrantSignature,
    NotPermitted,
    WrongGrant,
    BadAccessSignature,
    Stale
}

/// @notice A SMART App Launch v2 clinical scope for one patient, with purpose and limits.
/// @param resource FHIR R4 resource type, or `*` for any; 1 to 64 bytes
/// @param interactions bits: c=1 r=2 u=4 d=8 s=16; at least one
/// @param filter FHIR search parameters in canonical form, empty for none; at most 512 bytes
/// @param dataFrom first clinical date of the data, unix seconds; 0 is open
/// @param dataUntil end of the clinical dates, exclusive, unix seconds; 0 is open
/// @param purpose HL7 v3 PurposeOfUse code; 1 to 32 bytes
/// @param sensitivities mask of the sensitive categories that may be seen as well; below 256
struct Scope {
    string resource;
    uint8 interactions;
    string filter;
    uint64 dataFrom;
    uint64 dataUntil;
    string purpose;
    uint64 sensitivities;
}

/// @notice One leaf of a grant's tree: what may be done, at which data holder.
/// @param salt 32 random bytes, fresh for each provision
/// @param holder the data holder, or zero for any
/// @param scope what is permitted there
struct Provision {
    bytes32 salt;
    address holder;
    Scope scope;
}

/// @notice What a grantor signs; its EIP-712 digest is its id.
/// @param grantor who gives access
/// @param grantee who is given it
/// @param provisions root of the Merkle tree of the provisions
/// @param notBefore first second of validity, unix time
/// @param expires end of validity, exclusive, unix time
/// @param revocations 1 to 8 hashes of secrets; the reveal of any of them ends the grant
/// @param parent id of the grant that this one hands on, zero for none
/// @param handoffs how many more times it may be handed on
struct Grant {
    address grantor;
    address grantee;
    bytes32 provisions;
    uint64 notBefore;
    uint64 expires;
    bytes32[] revocations;
    bytes32 parent;
    uint8 handoffs;
}

/// @notice A provision shown to a data holder.
/// @param provision the leaf
/// @param proof its siblings from the leaf up; at most 64
struct Opening {
    Provision provision;
    bytes32[] proof;
}

/// @notice One grant of a chain of hand-offs, with what proves it.
/// @param grant the grant
/// @param signature the grantor's, over the grant's id; at most 4,096 bytes
/// @param anchorProof siblings from the grant's leaf up to an anchored root; at most 64
/// @param openings one for each scope of the access, in its order; at most 64
struct Link {
    Grant grant;
    bytes signature;
    bytes32[] anchorProof;
    Opening[] openings;
}

/// @notice What the last grantee signs to use its grant at one data holder.
/// @param grant id of the last grant of the chain
/// @param holder the data holder that is asked
/// @param scopes what is asked for; 1 to 64
/// @param binding thumbprint of the key of the session that follows, zero for none
/// @param time unix time of the signing
/// @param nonce 32 bytes, fresh for each access
struct Access {
    bytes32 grant;
    address holder;
    Scope[] scopes;
    bytes32 binding;
    uint64 time;
    bytes32 nonce;
}

/// @title Registry
/// @notice Keeps when consent was anchored, revoked, and when keys were retired, and decides an access on that.
/// @dev Assent protocol, version 1. No owner, no upgrade, no fees, and no immutables: the code is the same on every
/// chain. Each entry is written once and never changes. No call depends on its sender, so anybody may pay for anybody.
contract Registry {
    /// @notice A Merkle root was anchored.
    /// @param root root of a tree of grant ids
    event Anchored(bytes32 indexed root);

    /// @notice A revocation secret was revealed: the secret itself, so that nobody can fake a reveal.
    /// @param secret its keccak256 is the revocation that grants list
    event Revoked(bytes32 indexed secret);

    /// @notice A lost or stolen key was retired, for ever.
    /// @param account the key's address
    event Retired(address indexed account);

    /// @notice The account did not sign its retirement.
    error BadSignature();

    /// @dev One slot, so that looking an entry up and writing it hash its key once; a getter gives its time.
    struct Entry {
        uint256 time;
    }

    /// @notice Block time of the first anchoring of a root; 0 is never.
    mapping(bytes32 root => Entry) public anchoredAt;

    /// @notice Block time of the first reveal of the secret with this keccak256; 0 is never.
    mapping(bytes32 revocation => Entry) public revokedAt;

    /// @notice Block time of the retirement of an account; 0 is never.
    mapping(address account => Entry) public retiredAt;

    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant SCOPE_TYPEHASH = keccak256(
        "Scope(string resource,uint8 interactions,string filter,uint64 dataFrom,uint64 dataUntil,string purpose,uint64 sensitivities)"
    );
    bytes32 private constant PROVISION_TYPEHASH = keccak256(
        "Provision(bytes32 salt,address holder,Scope scope)Scope(string resource,uint8 interactions,string filter,uint64 dataFrom,uint64 dataUntil,string purpose,uint64 sensitivities)"
    );
    bytes32 private constant GRANT_TYPEHASH = keccak256(
        "Grant(address grantor,address grantee,bytes32 provisions,uint64 notBefore,uint64 expires,bytes32[] revocations,bytes32 parent,uint8 handoffs)"
    );
    bytes32 private constant ACCESS_TYPEHASH = keccak256(
        "Access(bytes32 grant,address holder,Scope[] scopes,bytes32 binding,uint64 time,bytes32 nonce)Scope(string resource,uint8 interactions,string filter,uint64 dataFrom,uint64 dataUntil,string purpose,uint64 sensitivities)"
    );
    bytes32 private constant RETIREMENT_TYPEHASH = keccak256("Retirement(address account)");

    bytes32 private constant NAME_HASH = keccak256("Assent");
    bytes32 private constant VERSION_HASH = keccak256("1");
    bytes32 private constant ANY_RESOURCE = keccak256("*");
    bytes32 private constant NO_FILTER = keccak256("");

    uint256 private constant MAX_LINKS = 32;
    uint256 private constant MAX_SCOPES = 64;
    uint256 private constant MAX_REVOCATIONS = 8;
    uint256 private constant MAX_PROOF = 64;
    uint256 private constant MAX_OPENINGS = 64;
    uint256 private constant MAX_SIGNATURE = 4096;
    uint256 private constant MAX_STALENESS = 300;

    /// @dev The largest s in the lower half of the order of secp256k1.
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;
    /// @dev `isValidSignature(bytes32,bytes)` of EIP-1271: its selector, and what it returns for yes.
    bytes32 private constant MAGIC = bytes32(bytes4(0x1626ba7e));
    /// @dev What a contract account may spend on its answer, exactly.
    uint256 private constant ANSWER_GAS = 500_000;
    /// @dev Gas that lets ANSWER_GAS be forwarded: 64/63 of it (EIP-150), and the price of the call, of a delegated
    /// account (EIP-7702) too.
    uint256 private constant ENOUGH_GAS = 512_000;

    /// @notice Anchors a root. Anyone may call; a repeat changes nothing and emits nothing.
    /// @param root root of a Merkle tree of grant ids
    function anchor(bytes32 root) external {
        Entry storage entry = anchoredAt[root];
        if (entry.time == 0) {
            entry.time = block.timestamp;
            emit Anchored(root);
        }
    }

    /// @notice Reveals secrets, which ends every grant that lists the hash of one. Anyone who knows a secret may call;
    /// what is revealed already changes nothing and emits nothing.
    /// @param secrets the secrets themselves, not their hashes
    function revoke(bytes32[] calldata secrets) external {
        for (uint256 i; i < secrets.length; ++i) {
            bytes32 secret = secrets[i];
            Entry storage entry = revokedAt[_hash(secret)];
            if (entry.time == 0) {
                entry.time = block.timestamp;
                emit Revoked(secret);
            }
        }
    }

    /// @notice Retires a lost or stolen key, for ever. Anyone may call. The signature is checked each time; a repeat
    /// changes nothing and emits nothing.
    /// @param account the key's address
    /// @param signature the account's, over `Retirement(address account)`; at most 4,096 bytes, else BadSignature
    function retire(address account, bytes calldata signature) external {
        bytes32 digest = _digest(_domainSeparator(), keccak256(abi.encode(RETIREMENT_TYPEHASH, account)));
        if (!signed(account, digest, signature)) revert BadSignature();
        Entry storage entry = retiredAt[account];
        if (entry.time == 0) {
            entry.time = block.timestamp;
            emit Retired(account);
        }
    }

    /// @notice Whether an account signed a digest: its key did, or it has code that says so (EIP-1271).
    /// @dev Reverts only where an account with code cannot be given 500,000 gas for its answer.
    /// @param account the signer; the zero address never signs
    /// @param digest what was signed
    /// @param signature 65 bytes r, s, v (v 27 or 28, s in the lower half of the order) of a key; up to 4,096 bytes,
    /// as they are, of an account with code
    function signed(address account, bytes32 digest, bytes calldata signature) public view returns (bool) {
        if (account == address(0) || signature.length > MAX_SIGNATURE) return false;
        if (signature.length == 65) {
            bytes32 r = bytes32(signature[0:32]);
            bytes32 s = bytes32(signature[32:64]);
            uint8 v = uint8(signature[64]);
            if (uint256(s) <= HALF_ORDER && ecrecover(digest, v, r, s) == account) return true;
        }
        return account.code.length != 0 && _answers(account, digest, signature);
    }

    /// @notice Decides an access, as section 7 of the protocol says; never reverts but for gas.
    /// @param links the grants, root first, each with its proofs
    /// @param access what is asked for
    /// @param signature the last grantee's, over the access
    /// @return outcome Permit, or the first row that fails
    /// @return link index of the failing link for the rows that are about one, else 0
    function check(Link[] calldata links, Access calldata access, bytes calldata signature)
        external
        view
        returns (Outcome outcome, uint256 link)
    {
        if (!_wellFormed(links, access, signature)) return (Outcome.Malformed, 0);

        bytes32 domain = _domainSeparator();
        bytes32[8][] memory asked = _encode(access.scopes);
        bytes32 id;
        address grantee;
        uint256 handoffs;
        for (; link < links.length; ++link) {
            Grant calldata grant = links[link].grant;
            if (grant.parent != id || (link != 0 && (grant.grantor != grantee || grant.handoffs >= handoffs))) {
                return (Outcome.BrokenChain, link);
            }
            id = _digest(domain, _hash(grant));
            outcome = _checkLink(links[link], id, access.holder, asked);
            if (outcome != Outcome.Permit) return (outcome, link);
            grantee = grant.grantee;
            handoffs = grant.handoffs;
        }

        if (access.grant != id) return (Outcome.WrongGrant, 0);
        if (retiredAt[grantee].time != 0) return (Outcome.Retired, 0);
        if (!signed(grantee, _digest(domain, _hash(access, asked)), signature)) return (Outcome.BadAccessSignature, 0);
        uint256 time = access.time;
        if ((time < block.timestamp ? block.timestamp - time : time - block.timestamp) > MAX_STALENESS) {
            return (Outcome.Stale, 0);
        }
        return (Outcome.Permit, 0);
    }

    /// @dev The rows that are about one link alone, Permit where none fails.
    function _checkLink(Link calldata link, bytes32 id, address holder, bytes32[8][] memory asked)
        private
        view
        returns (Outcome)
    {
        Grant calldata grant = link.grant;
        if (anchoredAt[_root(id, link.anchorProof)].time == 0) return Outcome.NotAnchored;
        bytes32[] calldata revocations = grant.revocations;
        for (uint256 i; i < revocations.length; ++i) {
            if (revokedAt[revocations[i]].time != 0) return Outcome.Revoked;
        }
        if (retiredAt[grant.grantor].time != 0) return Outcome.Retired;
        if (block.timestamp < grant.notBefore) return Outcome.NotYetValid;
        if (block.timestamp >= grant.expires) return Outcome.Expired;
        if (!signed(grant.grantor, id, link.signature)) return Outcome.BadGrantSignature;
        Opening[] calldata openings = link.openings;
        if (openings.length != asked.length) return Outcome.NotPermitted;
        bytes32[8] memory scope;
        for (uint256 i; i < openings.length; ++i) {
            Provision calldata provision = openings[i].provision;
            if (provision.holder != address(0) && provision.holder != holder) return Outcome.NotPermitted;
            _encode(provision.scope, scope);
            if (_root(_hash(provision, scope), openings[i].proof) != grant.provisions) return Outcome.NotPermitted;
            if (!_covers(scope, asked[i])) return Outcome.NotPermitted;
        }
        return Outcome.Permit;
    }

    /// @dev The first row of the decision: whether everything is within its limits.
    function _wellFormed(Link[] calldata links, Access calldata access, bytes calldata signature)
        private
        pure
        returns (bool)
    {
        Scope[] calldata scopes = access.scopes;
        if (links.length == 0 || links.length > MAX_LINKS) return false;
        if (scopes.length == 0 || scopes.length > MAX_SCOPES) return false;
        if (signature.length > MAX_SIGNATURE || access.holder == address(0)) return false;
        for (uint256 i; i < scopes.length; ++i) {
            if (!_wellFormed(scopes[i])) return false;
        }
        for (uint256 i; i < links.length; ++i) {
            Link calldata link = links[i];
            uint256 revocations = link.grant.revocations.length;
            if (revocations == 0 || revocations > MAX_REVOCATIONS) return false;
            if (link.signature.length > MAX_SIGNATURE || link.anchorProof.length > MAX_PROOF) return false;
            Opening[] calldata openings = link.openings;
            if (openings.length > MAX_OPENINGS) return false;
            for (uint256 k; k < openings.length; ++k) {
                Opening calldata opening = openings[k];
                if (opening.proof.length > MAX_PROOF || !_wellFormed(opening.provision.scope)) return false;
            }
        }
        return true;
    }

    /// @dev Section 3 of the protocol.
    function _wellFormed(Scope calldata scope) private pure returns (bool) {
        uint256 resource = bytes(scope.resource).length;
        uint256 purpose = bytes(scope.purpose).length;
        return resource != 0 && resource <= 64 && scope.interactions != 0 && scope.interactions <= 31
            && bytes(scope.filter).length <= 512 && purpose != 0 && purpose <= 32 && scope.sensitivities < 256
            && (scope.dataUntil == 0 || scope.dataUntil > scope.dataFrom);
    }

    /// @dev Whether a provision's scope covers one of the access, both as the words that _encode gives.
    function _covers(bytes32[8] memory p, bytes32[8] memory a) private pure returns (bool) {
        return (p[1] == a[1] || p[1] == ANY_RESOURCE) && (a[2] & ~p[2]) == 0 && (p[3] == NO_FILTER || p[3] == a[3])
            && a[4] >= p[4] && (p[5] == 0 || (a[5] != 0 && a[5] <= p[5])) && p[6] == a[6] && (a[7] & ~p[7]) == 0;
    }

    /// @dev Asks an account with code (EIP-1271): yes is a call that succeeds and returns at least 32 bytes, the first
    /// 32 being MAGIC. No more than these are copied, whatever it returns.
    function _answers(address account, bytes32 digest, bytes calldata signature) private view returns (bool yes) {
        bytes32 magic = MAGIC;
        uint256 gasForAnswer = ANSWER_GAS;
        uint256 enough = ENOUGH_GAS;
        assembly ("memory-safe") {
            let question := mload(0x40)
            mstore(question, magic)
            mstore(add(question, 0x04), digest)
            mstore(add(question, 0x24), 0x40)
            mstore(add(question, 0x44), signature.length)
            let length := and(add(signature.length, 0x1f), not(0x1f))
            mstore(add(question, add(0x44, length)), 0)
            calldatacopy(add(question, 0x64), signature.offset, signature.length)
            if lt(gas(), enough) { revert(0, 0) }
            mstore(0, 0)
            yes := staticcall(gasForAnswer, account, question, add(0x64, length), 0, 0x20)
            yes := and(yes, and(gt(returndatasize(), 0x1f), eq(mload(0), magic)))
        }
    }

    /// @dev EIP-712's domain separator on this chain and at this address.
    function _domainSeparator() private view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, address(this)));
    }

    /// @dev EIP-712's digest.
    function _digest(bytes32 domain, bytes32 structHash) private pure returns (bytes32 digest) {
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore(p, hex"1901")
            mstore(add(p, 0x02), domain)
            mstore(add(p, 0x22), structHash)
            digest := keccak256(p, 0x42)
        }
    }

    /// @dev The root that a proof leads to from keccak256(item), with the lesser of two nodes first.
    function _root(bytes32 item, bytes32[] calldata proof) private pure returns (bytes32 node) {
        assembly ("memory-safe") {
            mstore(0, item)
            node := keccak256(0, 0x20)
            let end := add(proof.offset, shl(5, proof.length))
            for { let at := proof.offset } lt(at, end) { at := add(at, 0x20) } {
                let sibling := calldataload(at)
                let place := shl(5, gt(node, sibling))
                mstore(place, node)
                mstore(xor(place, 0x20), sibling)
                node := keccak256(0, 0x40)
            }
        }
    }

    /// @dev encodeData of a scope, its type hash first: equal strings are equal words.
    function _encode(Scope calldata scope, bytes32[8] memory words) private pure {
        bytes32 typeHash = SCOPE_TYPEHASH;
        bytes32 resource = _hash(scope.resource);
        bytes32 filter = _hash(scope.filter);
        bytes32 purpose = _hash(scope.purpose);
        assembly ("memory-safe") {
            calldatacopy(add(words, 0x20), scope, 0xe0)
            mstore(words, typeHash)
            mstore(add(words, 0x20), resource)
            mstore(add(words, 0x60), filter)
            mstore(add(words, 0xc0), purpose)
        }
    }

    /// @dev encodeData of each scope.
    function _encode(Scope[] calldata scopes) private pure returns (bytes32[8][] memory words) {
        words = new bytes32[8][](scopes.length);
        for (uint256 i; i < scopes.length; ++i) {
            _encode(scopes[i], words[i]);
        }
    }

    /// @dev hashStruct of a provision whose scope was encoded.
    function _hash(Provision calldata provision, bytes32[8] memory scope) private pure returns (bytes32 hash) {
        bytes32 typeHash = PROVISION_TYPEHASH;
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore(p, typeHash)
            calldatacopy(add(p, 0x20), provision, 0x40)
            mstore(add(p, 0x60), keccak256(scope, 0x100))
            hash := keccak256(p, 0x80)
        }
    }

    /// @dev hashStruct of a grant.
    function _hash(Grant calldata grant) private pure returns (bytes32 hash) {
        bytes32 typeHash = GRANT_TYPEHASH;
        bytes32[] calldata revocations = grant.revocations;
        assembly ("memory-safe") {
            let p := mload(0x40)
            let size := shl(5, revocations.length)
            calldatacopy(p, revocations.offset, size)
            let list := keccak256(p, size)
            mstore(p, typeHash)
            calldatacopy(add(p, 0x20), grant, 0x100)
            mstore(add(p, 0xc0), list)
            hash := keccak256(p, 0x120)
        }
    }

    /// @dev hashStruct of an access whose scopes were encoded.
    function _hash(Access calldata access, bytes32[8][] memory scopes) private pure returns (bytes32 hash) {
        bytes32 typeHash = ACCESS_TYPEHASH;
        assembly ("memory-safe") {
            let p := mload(0x40)
            let size := shl(5, mload(scopes))
            for { let at := 0 } lt(at, size) { at := add(at, 0x20) } {
                mstore(add(p, at), keccak256(mload(add(add(scopes, 0x20), at)), 0x100))
            }
            let list := keccak256(p, size)
            mstore(p, typeHash)
            calldatacopy(add(p, 0x20), access, 0xc0)
            mstore(add(p, 0x60), list)
            hash := keccak256(p, 0xe0)
        }
    }

    /// @dev keccak256 of one word.
    function _hash(bytes32 word) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            mstore(0, word)
            hash := keccak256(0, 0x20)
        }
    }

    /// @dev keccak256 of a text.
    function _hash(string calldata text) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let p := mload(0x40)
            calldatacopy(p, text.offset, text.length)
            hash := keccak256(p, text.length)
        }
    }
}

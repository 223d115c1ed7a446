/// The Merkle tree of RFC 6962, section 2.1, built leaf by leaf in memory that grows with the logarithm of its size.
///
/// With a target the path of section 2.1.1 for that leaf is gathered on the way.
package struct MerkleTree: Sendable {
    /// A complete subtree of `2^height` leaves.
    private struct Node {
        var hash: [UInt8]
        let height: Int
        let holdsTarget: Bool
    }

    package private(set) var count: Int64 = 0
    private var stack: [Node] = []
    private let target: Int64?
    private var path: [[UInt8]] = []

    /// - Parameter target: index of the leaf, from 0, whose path is wanted.
    package init(target: Int64? = nil) { self.target = target }

    /// - Parameter leaf: its hash, SHA-256 of a zero octet and the data.
    package mutating func append(_ leaf: [UInt8]) {
        var node = Node(hash: leaf, height: 0, holdsTarget: count == target)
        count += 1
        while let left = stack.last, left.height == node.height {
            stack.removeLast()
            note(left, node)
            node = Node(
                hash: Self.parent(left.hash, node.hash), height: node.height + 1,
                holdsTarget: left.holdsTarget || node.holdsTarget)
        }
        stack.append(node)
    }

    private mutating func note(_ left: Node, _ right: Node) {
        if left.holdsTarget { path.append(right.hash) }
        if right.holdsTarget { path.append(left.hash) }
    }

    package var root: [UInt8] { folded().hash }

    /// The siblings from the leaf to the root, or nil when there is no such leaf.
    package var inclusionPath: [[UInt8]]? {
        guard let target, target >= 0, target < count else { return nil }
        return folded().path
    }

    private func folded() -> (hash: [UInt8], path: [[UInt8]]) {
        var copy = self
        guard var node = copy.stack.popLast() else { return (SHA256.hash([UInt8]()), []) }
        while let left = copy.stack.popLast() {
            copy.note(left, node)
            node = Node(
                hash: Self.parent(left.hash, node.hash), height: 0, holdsTarget: left.holdsTarget || node.holdsTarget)
        }
        return (node.hash, copy.path)
    }

    /// The hash of a leaf: its data behind a zero octet, so that no inner node can pass for it.
    package static func leaf(_ data: [UInt8]) -> [UInt8] { SHA256.hash([0] + data) }

    package static func parent(_ left: [UInt8], _ right: [UInt8]) -> [UInt8] {
        SHA256.hash([1] + left + right)
    }

    /// The root that a leaf and its path lead to, or nil when the path can not belong to such a tree
    /// (RFC 9162, section 2.1.3.2).
    package static func root(leaf: [UInt8], index: Int64, count: Int64, path: [[UInt8]]) -> [UInt8]? {
        guard index >= 0, index < count else { return nil }
        var (first, last) = (index, count - 1)
        var hash = leaf
        for sibling in path {
            guard last > 0, sibling.count == SHA256.byteCount else { return nil }
            if first & 1 == 1 || first == last {
                hash = parent(sibling, hash)
                while first & 1 == 0, first != 0 {
                    first >>= 1
                    last >>= 1
                }
            } else {
                hash = parent(hash, sibling)
            }
            first >>= 1
            last >>= 1
        }
        return last == 0 ? hash : nil
    }
}

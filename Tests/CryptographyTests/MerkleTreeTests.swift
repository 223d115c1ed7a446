import Cryptography
import Testing
import WireText

@Suite("Merkle tree of RFC 6962")
struct MerkleTreeTests {
    /// Section 2.1, word for word: quadratic, and so plain that it can be read beside the RFC.
    private static func root(_ leaves: ArraySlice<[UInt8]>) -> [UInt8] {
        guard let first = leaves.first else { return SHA256.hash([UInt8]()) }
        guard leaves.count > 1 else { return first }
        let split = leaves.startIndex + largestPower(below: leaves.count)
        return MerkleTree.parent(root(leaves[..<split]), root(leaves[split...]))
    }

    private static func path(_ index: Int, _ leaves: ArraySlice<[UInt8]>) -> [[UInt8]] {
        guard leaves.count > 1 else { return [] }
        let power = largestPower(below: leaves.count)
        let split = leaves.startIndex + power
        return index < power
            ? path(index, leaves[..<split]) + [root(leaves[split...])]
            : path(index - power, leaves[split...]) + [root(leaves[..<split])]
    }

    private static func largestPower(below count: Int) -> Int {
        var power = 1
        while power * 2 < count { power *= 2 }
        return power
    }

    private static func leaves(_ count: Int) -> [[UInt8]] {
        (0..<count).map { MerkleTree.leaf(Array("leaf \($0)".utf8)) }
    }

    private static func tree(_ leaves: [[UInt8]], target: Int64? = nil) -> MerkleTree {
        var tree = MerkleTree(target: target)
        for leaf in leaves { tree.append(leaf) }
        return tree
    }

    @Test("Roots of all sizes up to 130 are those of the definition")
    func roots() {
        let all = Self.leaves(130)
        for count in 0...130 {
            #expect(Self.tree(Array(all[..<count])).root == Self.root(all[..<count]), "size \(count)")
        }
    }

    @Test("Paths of all leaves in all sizes up to 130 are those of the definition, and lead to the root")
    func paths() {
        let all = Self.leaves(130)
        for count in 1...130 {
            let leaves = Array(all[..<count])
            let root = Self.root(leaves[...])
            for index in 0..<count {
                let path = Self.tree(leaves, target: Int64(index)).inclusionPath
                guard let path, path == Self.path(index, leaves[...]) else {
                    Issue.record("path of \(index) in \(count)")
                    continue
                }
                let computed = MerkleTree.root(
                    leaf: leaves[index], index: Int64(index), count: Int64(count), path: path)
                if computed != root { Issue.record("root by path of \(index) in \(count)") }
            }
        }
    }

    @Test("A path proves nothing for another leaf, place, size or with a sibling more or less")
    func wrongPaths() {
        let leaves = Self.leaves(13)
        let root = Self.root(leaves[...])
        for index in 0..<13 {
            let path = Self.path(index, leaves[...])
            for other in 0..<13 where other != index {
                #expect(MerkleTree.root(leaf: leaves[other], index: Int64(index), count: 13, path: path) != root)
                #expect(MerkleTree.root(leaf: leaves[index], index: Int64(other), count: 13, path: path) != root)
            }
            #expect(MerkleTree.root(leaf: leaves[index], index: Int64(index), count: 13, path: path + [root]) == nil)
            #expect(
                MerkleTree.root(leaf: leaves[index], index: Int64(index), count: 13, path: path.dropLast()) != root)
            #expect(MerkleTree.root(leaf: leaves[index], index: 13, count: 13, path: path) == nil)
            #expect(MerkleTree.root(leaf: leaves[index], index: -1, count: 13, path: path) == nil)
        }
        #expect(Self.tree(leaves, target: 13).inclusionPath == nil)
        #expect(Self.tree(leaves).inclusionPath == nil)
    }

    /// The vectors of the Certificate Transparency reference implementation.
    @Test(
        "Roots are those of the Certificate Transparency reference",
        arguments: zip(
            1...8,
            [
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
            ]))
    func reference(count: Int, expected: String) throws {
        let inputs = [
            "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
        ]
        let leaves = try inputs.map { MerkleTree.leaf(try #require(Hexadecimal.decode($0))) }
        #expect(Hexadecimal.encode(Self.tree(Array(leaves[..<count])).root) == expected)
    }

    @Test("The empty tree has the digest of nothing")
    func empty() {
        #expect(
            Hexadecimal.encode(MerkleTree().root) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    }
}

import Glibc

/// Whether the tests that take minutes are wanted, in full: `deploy/test --long`. In any other run a part of each stands
/// for it.
package enum LongTests {
    package static let areWanted = getenv("HDS_LONG_TESTS").map { $0.pointee != 0 } ?? false

    /// All of these, or the first few.
    package static func some<Case>(_ few: Int, of all: [Case]) -> [Case] { areWanted ? all : Array(all.prefix(few)) }
}

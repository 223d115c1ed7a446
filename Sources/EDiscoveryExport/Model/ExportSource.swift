package import EDiscoveryModel

/// Where an export gets what it writes: pulled one by one, so that never more than one item is in memory.
///
/// Spaces come by id ascending, items in their own order; an item's space has come before it. Each closure is called by
/// one export, one call at a time. An error that one throws ends the export: what may or may not be there in the next run
/// would make two exports of one report differ.
package struct ExportSource {
    /// The next octets, and nil at the end.
    package typealias Chunks = () async throws -> [UInt8]?

    let nextSpace: () async throws -> CollectedSpace?
    let nextItem: () async throws -> CollectedItem?
    let file: (_ reference: String) async throws -> Chunks?

    /// - Parameter file: the octets of a file by its reference, in pieces of any size; nil when they are not there.
    package init(
        nextSpace: @escaping () async throws -> CollectedSpace?, nextItem: @escaping () async throws -> CollectedItem?,
        file: @escaping (_ reference: String) async throws -> Chunks?
    ) {
        self.nextSpace = nextSpace
        self.nextItem = nextItem
        self.file = file
    }

    /// Of what is in memory anyway.
    package init(spaces: [CollectedSpace], items: [CollectedItem], files: [String: [UInt8]] = [:]) {
        var spaces = spaces.sorted { $0.id < $1.id }.makeIterator()
        var items = items.sorted().makeIterator()
        self.init(
            nextSpace: { spaces.next() }, nextItem: { items.next() },
            file: { reference in
                guard var octets = files[reference] else { return nil }
                var first = true
                return {
                    defer {
                        first = false
                        octets = []
                    }
                    return first ? octets : nil
                }
            })
    }
}

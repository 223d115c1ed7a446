package import EDiscoveryModel

/// An item with its numbers and the places of its files in the package; its leaf in the tree is the line of this.
package struct ExportedItem: Sendable, Hashable {
    package var item: CollectedItem
    /// The document number of the item itself.
    package var number: String
    /// One for each of the item's files, in their order.
    package var files: [Place]

    /// A file's number and where its octets are, below `data/`; nil when they are not in the package.
    package struct Place: Sendable, Hashable {
        package var number: String
        package var path: String?
        package init(number: String, path: String?) {
            self.number = number
            self.path = path
        }
    }

    package init(item: CollectedItem, number: String, files: [Place]) {
        self.item = item
        self.number = number
        self.files = files
    }
}

extension ExportedItem {
    /// The last number of its family: of its last file, or its own.
    var lastNumber: String { files.last?.number ?? number }

    /// Whether it is something that somebody wrote or sent; else it is an event of its space.
    var isMessage: Bool {
        switch item.kind {
        case .message, .share: true
        case .joined, .left, .spaceCreated, .titleChanged, .keyRotated: !item.files.isEmpty
        default: item.text != nil || !item.files.isEmpty
        }
    }

    /// What happened, for an event: one line.
    var sentence: String {
        let author = item.author.shown
        let subject = item.subject?.shown ?? "somebody"
        return switch item.kind {
        case .joined:
            item.subject.map { $0.id == item.author.id } ?? true ? "\(author) joined" : "\(author) added \(subject)"
        case .left:
            item.subject.map { $0.id == item.author.id } ?? true ? "\(author) left" : "\(author) removed \(subject)"
        case .spaceCreated: "\(author) created the space"
        case .titleChanged:
            item.text.map { "\(author) named the space “\(ExportName.visible($0))”" } ?? "\(author) renamed the space"
        case .keyRotated: "\(author) changed the space's key"
        case .reaction: "\(author) reacted"
        case .edit: "\(author) edited a message"
        case .deletion: "\(author) deleted a message"
        case .meeting: "\(author) held a meeting"
        case .recording: "\(author) made a recording"
        case .whiteboard: "\(author) drew on a whiteboard"
        case .message, .share: "\(author) wrote"
        case .other: "something of \(author) that has no name here"
        }
    }
}

extension Person {
    /// Name, else e-mail, else id: one visible line.
    var shown: String { ExportName.visible(name ?? email ?? id, limit: 120) }

    /// With the address behind the name.
    var described: String {
        let address = ExportName.visible(email ?? id, limit: 200)
        guard let name else { return address }
        return "\(ExportName.visible(name, limit: 120)) <\(address)>"
    }
}

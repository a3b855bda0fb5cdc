"""What a network says while a part of the picture is covered, computed where that changes it."""

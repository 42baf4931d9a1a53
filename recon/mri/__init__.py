"""From k-space to coil maps and images: what MRI needs beside the operators."""
